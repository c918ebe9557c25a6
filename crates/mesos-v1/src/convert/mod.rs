//! Mesos messages to and from our types: resources and attributes.
//!
//! Both forms of a reservation are read: the old one (`role` with `reservation`) and the new one (`reservations`);
//! inside there is only the new one. Which form is written depends on what the reader understands, see
//! [`ResourceForm`].

mod attribute;
mod resource;
mod resource_check;

#[cfg(test)]
mod resource_test;

pub use attribute::{attributes_from_v1, attributes_to_v1};
pub use resource::{ResourceForm, resource_to_v1, resources_from_v1, resources_to_v1};
pub use resource_check::InvalidResource;
