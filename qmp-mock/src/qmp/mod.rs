//! The QMP side: what arrives ([`wire`]), what is answered ([`commands`], [`replies`]), and the socket ([`server`]).

pub(crate) mod commands;
mod replies;
pub(crate) mod server;
mod wire;
