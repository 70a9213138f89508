//! Metering: tariffs, sessions and the mutual-risk window.
