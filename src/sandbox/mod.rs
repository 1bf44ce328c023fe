//! The provider sandboxes: PayVyne, TuPay, One2Pays, TwoPay and Ayoconnect as loopback servers over a seeded world of known truth.
//!
//! They are written from `providers/*.md`, not from `src/providers`: a second, independent reading of the documents.
//! [`world`] decides what happened, [`api`] says it in each provider's words, [`wire`] puts it on sockets, [`fault`]
//! (with the format of its script) breaks it on purpose, [`plant`] makes the nights of the demo, [`ledger`] writes the
//! merchant's books about the same truth.
//!
//! Start at [`start`]. Knows nothing of jobs, settings or the database.

use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::Days;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::failure::{Class, Failure};

pub mod api;
mod bomb;
pub mod fault;
mod json;
pub mod ledger;
pub mod plant;
mod random;
pub mod wire;
pub mod world;

pub use api::Service;
pub use fault::Fault;
pub use random::Random;
pub use wire::Logged;
pub use world::{Planted, Setup, World};

/// First port of `reconciled sandbox` when none is asked for; the others follow it, one each.
pub const DEFAULT_PORT: u16 = 8741;

/// The running servers. They stop, and every connection breaks, when this is dropped.
pub struct Running {
    shared: Arc<wire::Shared>,
    ports: [u16; Service::ALL.len()],
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// `http://127.0.0.1:<port>` of a provider.
    pub fn base_url(&self, service: Service) -> String {
        let at = Service::ALL.iter().position(|s| *s == service).unwrap_or_default();
        format!("http://127.0.0.1:{}", self.ports[at])
    }

    /// Every request so far, in order of arrival.
    pub fn log(&self) -> Vec<Logged> {
        wire::lock(&self.shared.log).clone()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        wire::lock(&self.shared.log).clear();
    }

    /// Replaces the faults; counting begins anew.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        *wire::lock(&self.shared.faults) = fault::FaultBook::new(faults);
    }

    /// The world behind the servers.
    pub fn world(&self) -> Arc<Mutex<World>> {
        self.shared.world.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.shared.hang_up();
    }
}

/// Starts the servers on loopback: PayVyne on `port`, the others in their order on the ports after it; None: on free ports.
///
/// # Errors
/// A port that is taken.
pub async fn start(world: Arc<Mutex<World>>, faults: Vec<Fault>, port: Option<u16>) -> std::io::Result<Running> {
    let shared = Arc::new(wire::Shared::new(world, faults));
    let (mut ports, mut listeners) = ([0; Service::ALL.len()], Vec::new());
    for (number, service) in Service::ALL.into_iter().enumerate() {
        let wanted = port.map_or(0, |port| port.saturating_add(number as u16));
        let listener = TcpListener::bind(("127.0.0.1", wanted)).await?;
        ports[number] = listener.local_addr()?.port();
        listeners.push((service, listener));
    }
    let serve = |(service, listener)| tokio::spawn(wire::serve(service, listener, shared.clone()));
    let tasks = listeners.into_iter().map(serve).collect();
    Ok(Running { shared, ports, tasks })
}

/// `reconciled sandbox`: a world of the last forty days that follows the wall clock; says how to use it; runs until `stop`.
///
/// # Errors
/// CONFIG for a script that cannot be used, LOCAL-IO for a port that is taken.
pub async fn serve_forever(
    port: Option<u16>,
    script: Option<&Path>,
    stop: CancellationToken,
    say: impl Fn(&str),
) -> Result<(), Failure> {
    let faults = match script {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| {
                let why = format!("the fault script {} cannot be read: {}", path.display(), e.kind());
                Failure::new(Class::Config, why)
            })?;
            fault::parse_script(&text)?
        }
    };
    let port = port.unwrap_or(DEFAULT_PORT);
    let today = wire::wall_clock().date_naive();
    let first_day = today.checked_sub_days(Days::new(40)).unwrap_or(today);
    let mut world = World::new(Setup {
        seed: 1,
        first_day,
        days: 130,
        volume: 100,
    });
    world.follow_wall_clock();
    let text = invitation(&world, port, first_day);
    let running = start(Arc::new(Mutex::new(world)), faults, Some(port))
        .await
        .map_err(|e| {
            let why = format!(
                "ports {port} to {} cannot be opened on 127.0.0.1: {}",
                port.saturating_add(Service::ALL.len() as u16 - 1),
                e.kind()
            );
            Failure::new(Class::LocalIo, format!("{why}; choose others with --port"))
        })?;
    say(&text);
    stop.cancelled().await;
    drop(running);
    Ok(())
}

/// What `reconciled sandbox` prints: environment and job files, ready to paste.
fn invitation(world: &World, port: u16, start: chrono::NaiveDate) -> String {
    let doors = &world.doors;
    let url = |n: u16| format!("http://127.0.0.1:{}", port.saturating_add(n));
    format!(
        "The sandboxes run on loopback until Ctrl-C. Credentials, made up:\n\n\
         export PAYVYNE_SECRET='{}'\nexport TUPAY_ACCESS_KEY='{}'\nexport TUPAY_SECRET_KEY='{}'\n\
         export ONE2PAYS_API_KEY='{}'\nexport ONE2PAYS_SECRET_KEY='{}'\n\n\
         # jobs/payvyne-uk.toml\nschedule = \"0 30 2 * * *\"\ntimezone = \"Europe/London\"\n\
         [provider]\nkind = \"payvyne\"\nbase_url = \"{}\"\nclient_id = \"{}\"\n\
         client_secret = \"env:PAYVYNE_SECRET\"\nexpected_merchant = \"{}\"\nmax_rps = 100\n[fetch]\nstart = {start}\n\n\
         # jobs/tupay-pe.toml\nschedule = \"0 30 2 * * *\"\ntimezone = \"America/Lima\"\n\
         [provider]\nkind = \"tupay\"\nbase_url = \"{}\"\naccess_key = \"env:TUPAY_ACCESS_KEY\"\n\
         secret_key = \"env:TUPAY_SECRET_KEY\"\nexpected_merchant_id = {}\nmax_rps = 100\n[fetch]\nstart = {start}\n\n\
         # jobs/one2pays-th.toml\nschedule = \"0 30 2 * * *\"\ntimezone = \"Asia/Bangkok\"\n\
         [provider]\nkind = \"one2pays\"\nbase_url = \"{}\"\napi_key = \"env:ONE2PAYS_API_KEY\"\n\
         secret_key = \"env:ONE2PAYS_SECRET_KEY\"\nenvironment = \"sandbox\"\nrequests_per_minute = 800\n[fetch]\nstart = {start}\n\n{}",
        doors.payvyne.client_secret,
        doors.tupay.access_key,
        doors.tupay.secret_key,
        doors.one2pays.api_key,
        doors.one2pays.secret_key,
        url(0),
        doors.payvyne.client_id,
        doors.payvyne.merchant,
        url(1),
        doors.tupay.id_merchant,
        url(2),
        by_id(world, &url(3), &url(4)),
    )
}

/// The same for the two that answer only by id: without a ledger there is nothing to ask them about.
fn by_id(world: &World, twopay_url: &str, ayoconnect_url: &str) -> String {
    let (twopay, ayoconnect) = (&world.doors.twopay, &world.doors.ayoconnect);
    format!(
        "# jobs/twopay-co.toml; asks about the entries of a [ledger]\n\
         # export TWOPAY_SECRET='{}' TWOPAY_API_KEY='{}'\n\
         schedule = \"0 30 2 * * *\"\ntimezone = \"America/Bogota\"\n\
         [provider]\nkind = \"twopay\"\nbase_url = \"{twopay_url}\"\nclient_id = \"{}\"\n\
         client_secret = \"env:TWOPAY_SECRET\"\napi_key = \"env:TWOPAY_API_KEY\"\nnot_found_patterns = [\"{}\"]\n\
         payin_balance_path = \"{}\"\npayout_balance_path = \"{}\"\n[fetch]\nstart = {}\n\n\
         # jobs/ayoconnect-id.toml; asks about the entries of a [ledger]\n\
         # export AYOCONNECT_SECRET='{}' AYOCONNECT_KEY=\"$(cat key.pem)\"; key.pem is the sandbox's own:\n\
         schedule = \"0 30 2 * * *\"\ntimezone = \"Asia/Jakarta\"\n\
         [provider]\nkind = \"ayoconnect\"\nbase_url = \"{ayoconnect_url}\"\napi_generation = \"v2\"\nclient_id = \"{}\"\n\
         client_secret = \"env:AYOCONNECT_SECRET\"\nprivate_key = \"env:AYOCONNECT_KEY\"\nmerchant_id = \"{}\"\n\
         not_found_codes = [\"{}\"]\n[fetch]\nstart = {}\n\
         # generation 3: api_generation = \"v3\", and [provider.paths] token = \"{}\"\n\n{}\n",
        twopay.client_secret,
        twopay.api_key,
        twopay.client_id,
        api::twopay::UNKNOWN_KEY,
        twopay.payin_balance.as_deref().unwrap_or_default(),
        twopay.payout_balance.as_deref().unwrap_or_default(),
        world.setup.first_day,
        ayoconnect.client_secret,
        ayoconnect.client_id,
        ayoconnect.merchant,
        ayoconnect.v2_not_found,
        world.setup.first_day,
        api::ayoconnect::V3_TOKEN_PATH,
        api::ayoconnect::PRIVATE_KEY_PEM,
    )
}
