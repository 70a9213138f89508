//! What a driver tells that is said the same way by every command.

use millstream::rt::Told;

use crate::failure::Failure;

/// A line for whoever watches, if there is anything to say; the driver's failure is the command's.
pub(crate) fn line(told: &Told) -> Result<Option<String>, Failure> {
    Ok(match told {
        Told::Failed { error } => return Err((*error).into()),
        Told::Refused { error, count, .. } => Some(format!("refused ({count}): {error}")),
        Told::Unsent { error } => Some(format!("not sent: {error}")),
        Told::Missed(count) => Some(format!("{count} lines left out")),
        _ => None,
    })
}
