//! Mesos messages to and from our types: resources, attributes, tasks, and frameworks' rules about their offers.
//!
//! Both forms of a reservation are read: the old one (`role` with `reservation`) and the new one (`reservations`);
//! inside there is only the new one. Which form is written depends on what the reader understands, see
//! [`ResourceForm`].

mod attribute;
mod offer_rules;
mod resource;
mod resource_check;
mod task;

#[cfg(test)]
mod resource_test;

pub use attribute::{attributes_from_v1, attributes_to_v1};
pub use offer_rules::{
    ConstraintProblem, InvalidRules, constraints_from_v1, constraints_to_v1, min_allocatable_from_v1,
};
pub use resource::{ResourceForm, encode_resource, resource_to_v1, resources_from_v1, resources_to_v1};
pub use resource_check::InvalidResource;
pub use task::{Course, task_to_v1};
