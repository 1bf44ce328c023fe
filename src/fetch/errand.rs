//! One deliberate request of a person, outside every night: a link for a new binding. Sent once; because the provider opens
//! something for each, a request whose answer was lost is not repeated. Stores nothing.

use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::page::{Talk, redirect, send};
use crate::config::ProviderSetup;
use crate::failure::{Class, Failure};
use crate::providers::Judgement;
use crate::providers::binding::{BindingLink, BindingRequest};

/// Asks for the link and closes the session again.
///
/// # Errors
/// `AUTH`: refused also with a new session. `PROVIDER-DOWN`: no usable answer; whether a session was opened is not known.
pub async fn binding_link(
    setup: &ProviderSetup,
    client: &Client,
    asked: &BindingRequest,
) -> Result<BindingLink, Failure> {
    let stop = CancellationToken::new();
    let talk = Talk {
        client,
        store: None,
        stop: &stop,
    };
    client.sessions.forget_refusal().await;
    let link = ask(&talk, setup, asked).await.map_err(|f| f.at(setup.provider.name()));
    client.sessions.close(client).await;
    link
}

async fn ask(talk: &Talk<'_>, setup: &ProviderSetup, asked: &BindingRequest) -> Result<BindingLink, Failure> {
    let mut renewed = false;
    loop {
        let (ticket, answer) = send(talk, asked.request.clone()).await?;
        let reply = answer.map_err(|trouble| {
            let class = if trouble.again {
                Class::ProviderDown
            } else {
                trouble.class
            };
            let why = format!(
                "{}; it was not tried again: look whether a session was opened, then ask anew",
                trouble.why
            );
            Failure::new(class, why)
        })?;
        let read = match redirect(&reply) {
            Some(refused) => Err(refused),
            None => setup.provider.binding_link(asked, &reply),
        };
        let (class, why) = match read {
            Ok(link) => return Ok(link),
            // A refused request opened nothing.
            Err(Judgement::Renew { why } | Judgement::RenewThen { why, .. }) => {
                let skew = talk.client.sessions.learn_skew(talk.client, &reply);
                if !renewed {
                    talk.client.sessions.drop_session(&ticket).await;
                    renewed = true;
                    continue;
                }
                let clock = skew.map(|s| format!("; {s}")).unwrap_or_default();
                (Class::Auth, format!("{why}, also with a new session{clock}"))
            }
            Err(Judgement::Retry { why, .. }) => (
                Class::ProviderDown,
                format!("{why}; it was not tried again: look whether a session was opened, then ask anew"),
            ),
            Err(Judgement::Fail { class, why } | Judgement::Refused { class, why }) => (class, why),
            Err(Judgement::Page | Judgement::Absent { .. } | Judgement::Restart { .. }) => {
                (Class::Protocol, "the answer is no link".to_owned())
            }
        };
        return Err(Failure::new(class, why));
    }
}
