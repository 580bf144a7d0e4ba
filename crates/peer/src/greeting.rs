//! Greetings.

/// Why a greeting is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {}
