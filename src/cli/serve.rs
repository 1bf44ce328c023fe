//! `serve`: until a signal.

use reconciled::failure::Failure;

use super::args::Args;
use super::{load, stop_on_signal};

pub async fn serve(args: &Args) -> Result<u8, Failure> {
    let (settings, jobs) = load(args)?;
    let config = args.config.clone();
    let reload = move || reconciled::config::load(config.as_deref());
    reconciled::serve::serve(settings, jobs, reload, stop_on_signal())
        .await
        .map(|()| 0)
}
