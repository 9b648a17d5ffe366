//! SkyDNS records as CoreDNS's etcd plugin reads them: [`service`] is the value, [`text`] the spelling of a TXT in it.
//! How names become keys, and which keys a zone needs, is [`crate::layout`].

pub mod service;
pub mod text;
