//! The heartbeat: a call to an outside address after every run, so that a night that did not happen is noticed elsewhere.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::config::Alerts;

/// How long the outside may take; a run does not wait longer for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls the heartbeat URL, with `/fail` appended when the run did not end OK. The URL is a secret and never shown.
///
/// # Errors
/// One sentence for the log; a heartbeat that fails is no failure of the run.
pub async fn heartbeat(alerts: &Alerts, folder: &Path, ok: bool) -> Result<(), String> {
    let Some(reference) = &alerts.heartbeat_url else {
        return Ok(());
    };
    let secret = reference.read(folder)?;
    let mut url = crate::config::section::check_base_url(secret.expose_secret())
        .map_err(|why| format!("the heartbeat URL {why}"))?;
    if !ok {
        let path = format!("{}/fail", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    crate::fetch::install_crypto();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(|_| "the heartbeat client could not be made".to_owned())?;
    match client.get(url).send().await {
        Ok(reply) if reply.status().is_success() => Ok(()),
        Ok(reply) => Err(format!("the heartbeat was answered {}", reply.status().as_u16())),
        Err(_) => Err("the heartbeat could not be delivered".to_owned()),
    }
}
