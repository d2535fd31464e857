//! tasks

use anyhow::Result;

use crate::runs::Common;

/// tasks
pub fn run(_common: &Common) -> Result<()> {
    Ok(())
}
