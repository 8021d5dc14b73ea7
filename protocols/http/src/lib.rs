//! HTTP/1.1 for Ropewalk.
mod codec;
mod config;
#[allow(dead_code, reason = "scaffold")]
mod connection;
mod date;
mod error;
mod headers;
mod method;
mod request;
mod response;
mod status;

pub use config::Config;
pub use error::Error;
pub use headers::Headers;
pub use method::{ExtensionMethod, Method};
pub use request::{Request, TargetForm, Version};
pub use response::Response;
pub use status::Status;
