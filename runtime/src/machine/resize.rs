//! How many cores serve.

use multikernel_replicate::CoreId;
use std::io;

use crate::machine::mailbox::Standing;
use crate::machine::runtime::Handle;

impl Handle {
    /// Has as many cores serve as it says: the highest [retire](Self::retire), or those that have retired come back, the
    /// lowest first. There are never more than the Machine began with.
    ///
    /// This waits, as `retire` does, for tasks that may not be handed over. Two calls at a time may meet in the middle; and
    /// where the runtime [follows](crate::runtime::Builder::following) the CPUs of its container, it has more to say.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the Machine cannot have so many cores, or none. Otherwise a [`RetireError`](crate::runtime::RetireError) or
    /// [`ReviveError`](crate::runtime::ReviveError), when a core may not go or come; what was done before stays done.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some cores have gone or come. One that was waited for goes on as before.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new().cores(3).run(|| async {
    /// use multikernel::runtime::Handle;
    ///
    /// let machine = Handle::current();
    /// machine.resize(1).await?; // at night
    /// assert_eq!(multikernel::on_each_core(|| async {}).len(), 1);
    /// machine.resize(3).await?;
    /// assert_eq!(multikernel::on_each_core(|| async {}).len(), 3);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn resize(&self, cores: usize) -> io::Result<()> {
        let all = self.machine.cores.len();
        if !(1..=all).contains(&cores) {
            let text = format!("a Machine that began with {all} cores cannot have {cores}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let of = |wanted: Standing| {
            let cores = self.machine.cores.iter().enumerate();
            let fits = cores.filter(|(_, core)| core.load.standing() == wanted);
            fits.map(|(index, _)| CoreId::new(index)).collect::<Vec<_>>()
        };
        let serve = of(Standing::Member);
        for core in serve.iter().skip(cores).rev() {
            self.retire(*core).await?;
        }
        for core in of(Standing::Retired).into_iter().take(cores.saturating_sub(serve.len())) {
            self.revive(core).await?;
        }
        Ok(())
    }
}
