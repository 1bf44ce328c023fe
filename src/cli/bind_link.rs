//! `ayoconnect bind-link`: a link under which a customer binds a card anew. A deliberate command: the provider opens a session
//! for every code, so no night ever asks for one.

use reconciled::config::JobSource;
use reconciled::failure::{Class, Failure};
use reconciled::fetch;
use reconciled::providers::binding::BindingWish;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::ExposeSecret;

use super::args::{Args, BindLinkArgs};
use super::{choose, load, say};

pub async fn bind_link(args: &Args, wanted: &BindLinkArgs) -> Result<u8, Failure> {
    let (settings, jobs) = load(args)?;
    let jobs = choose(jobs, std::slice::from_ref(&wanted.job))?;
    let usage = |why: String| Failure::new(Class::Usage, format!("{}: {why}; nothing was asked", wanted.job));
    let Some(job) = jobs.first() else {
        return Err(usage("there is no such job".into()));
    };
    let JobSource::Provider(setup) = &job.source else {
        return Err(usage("this job asks no provider".into()));
    };
    let wish = BindingWish {
        mobile: wanted.mobile.clone(),
        user_id: wanted.user_id.clone(),
        bank_code: wanted.bank_code.clone(),
        redirect_url: wanted.redirect_url.clone(),
        failure_redirect_url: wanted.failure_redirect_url.clone(),
        lang: wanted.lang.clone(),
        info: wanted.info.clone(),
        state: random()?,
        external_id: random()?,
    };
    let asked = setup.provider.binding_request(&wish).map_err(usage)?;
    let client =
        fetch::Client::new(setup, &settings.http, &job.fetch, &settings.folder).map_err(|f| f.at(&job.name))?;
    let link = fetch::binding_link(setup, &client, &asked)
        .await
        .map_err(|f| f.at(&job.name))?;
    // The flow's id is what the binding is asked about later: it belongs into the ledger.
    match &link.url {
        Some(url) => say(&format!("{}\n", url.expose_secret())),
        None => {
            eprintln!("reconciled: `webview_base_url` is not set; append this code to the address given at onboarding");
            say(&format!("{}\n", link.code.expose_secret()));
        }
    }
    if !args.quiet {
        eprintln!(
            "reconciled: the link is open for a few minutes; keep X-EXTERNAL-ID {} with the binding",
            wish.external_id
        );
    }
    Ok(0)
}

/// 32 letters and digits from the system's randomness.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new(Class::LocalIo, "the system gives no randomness; nothing was asked"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
