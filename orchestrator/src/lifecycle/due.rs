//! Which step a state calls for.

use super::step::{Acknowledged, Ended};
use super::{Parts, create, delete};
use crate::server::{Server, State};

/// The step that a state calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Create,
    Wait,
    Register,
    Verify,
    Stop,
    Unregister,
    Delete,
    Remove,
}

impl Due {
    pub(super) fn of(state: State) -> Option<Self> {
        match state {
            State::Creating => Some(Self::Create),
            State::Waiting => Some(Self::Wait),
            State::Registering => Some(Self::Register),
            State::Verifying => Some(Self::Verify),
            State::Stopping => Some(Self::Stop),
            State::Unregistering => Some(Self::Unregister),
            State::Deleting => Some(Self::Delete),
            State::Deleted => Some(Self::Remove),
            State::Ready | State::Failed => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Wait => "wait",
            Self::Register => "register",
            Self::Verify => "verify",
            Self::Stop => "stop",
            Self::Unregister => "unregister",
            Self::Delete => "delete",
            Self::Remove => "remove",
        }
    }

    /// Whether it only looks, so that it can be broken off when the server is to go.
    pub(super) fn only_looks(self) -> bool {
        matches!(self, Self::Wait | Self::Verify)
    }

    /// Takes the step; `is_in_doubt`: it was begun before, and nobody knows how it ended.
    pub(super) async fn take(
        self,
        parts: &Parts,
        server: &mut Server,
        acknowledged: &mut Acknowledged,
        is_in_doubt: bool,
    ) -> Ended {
        match self {
            Self::Create => create::create(parts, server, is_in_doubt).await,
            Self::Wait => create::wait(parts, server).await,
            Self::Register => create::register(parts, server, acknowledged).await,
            Self::Verify => create::verify(parts, server, acknowledged).await,
            Self::Stop => delete::stop(parts, server).await,
            Self::Unregister => delete::unregister(parts, server).await,
            Self::Delete => delete::delete(parts, server).await,
            // The inventory is the worker's.
            Self::Remove => Ended::Gone,
        }
    }
}
