//! Links under which a customer binds a card or account anew: a deliberate errand of a person, never part of a night,
//! because the provider opens a session for each. Values only; the provider makes and reads them, the edges send.

use secrecy::SecretString;

use super::Request;

/// What a person wants a link for. Nothing is checked yet: [`super::Provider::binding_request`] does.
#[derive(Clone, Debug, Default)]
pub struct BindingWish {
    pub mobile: Option<String>,
    pub user_id: Option<String>,
    pub bank_code: Option<String>,
    pub redirect_url: Option<String>,
    pub failure_redirect_url: Option<String>,
    pub lang: Option<String>,
    pub info: Vec<String>,
    /// Random, new for each wish; the answer must repeat it.
    pub state: String,
    /// Random, new for each wish: names the flow that begins here.
    pub external_id: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct BindingLink {
    /// The code itself: whoever has it can open the session.
    pub code: SecretString,
    /// Where the customer binds; None where the settings do not say.
    pub url: Option<SecretString>,
}

/// A checked wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingRequest {
    pub request: Request,
    pub state: String,
}
