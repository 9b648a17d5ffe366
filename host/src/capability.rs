//! Everything that a plugin can reach outside itself.
//!
//! [`policy`] says what may be reached. [`http`] is the only road out for
//! HTTP: it asks the policy, then sends over connections that [`dial`] opened,
//! with bodies that [`body`] bounds, inside [`tls`] and with the operator's
//! [`login`] where there is one. [`resolver`], [`settings`], [`log`] and
//! [`stdio`] are the smaller capabilities. None of them knows what a plugin
//! wants to achieve.

pub(crate) mod body;
pub(crate) mod dial;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod policy;
pub(crate) mod resolver;
pub(crate) mod settings;
pub(crate) mod stdio;
pub(crate) mod tls;
