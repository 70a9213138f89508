//! The node: many peers, channels and sessions behind one input and one drain.
