//! What operators grant: quota, weights and priorities, valid by construction.
//!
//! The edges build these before anything is proposed, and `apply` stores nothing else, so no reader has to judge again.

use std::{fmt, sync::Arc};

use crate::{Role, resource::Quantities, resource::Scalar};

/// The most of `mem` or `disk` that a quota may name: 2^40 MB, an exabyte.
pub const QUOTA_BYTES_KINDS_MAX: Scalar = Scalar::from_units(1 << 40);
/// The most of any other kind that a quota may name.
pub const QUOTA_AMOUNT_MAX: Scalar = Scalar::from_units(1_000_000_000_000);
/// The largest weight, in thousandths: a million.
pub const WEIGHT_MAX_THOUSANDTHS: u64 = 1_000_000_000;
/// The largest priority; the smallest is its negative.
pub const PRIORITY_MAX: i32 = 1_000_000;

/// The part of a quota that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaField {
    /// What the role is sure to get.
    Guarantees,
    /// What the role gets at most.
    Limits,
}

impl fmt::Display for QuotaField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guarantees => "guarantees",
            Self::Limits => "limits",
        })
    }
}

/// Why a quota is refused. Each names the field and the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the field, the kind and the amounts that the text names")]
pub enum QuotaError {
    /// Quota belongs to top-level roles; what is below them shares it.
    #[error("role: quota of {role} is not possible, only top-level roles can have one (here {top})")]
    Nested { role: Role, top: String },
    /// The name is no role.
    #[error("role: {role:?} cannot have a quota, it is no valid role")]
    InvalidRole { role: Role },
    /// Below zero.
    #[error("{field}.{kind}: {amount} is negative")]
    Negative { field: QuotaField, kind: Arc<str>, amount: Scalar },
    /// Not a number, infinite, or so small that it rounds to zero.
    #[error("{field}.{kind}: not a finite number of at least 0.001, or zero")]
    NotANumber { field: QuotaField, kind: Arc<str> },
    /// More than any cluster has.
    #[error("{field}.{kind}: {amount} is more than the bound of {bound}")]
    TooMuch { field: QuotaField, kind: Arc<str>, amount: Scalar, bound: Scalar },
    /// A role cannot be sure of more than it may have.
    #[error("limits.{kind}: {limit} is below the guarantee of {guarantee}")]
    LimitBelowGuarantee { kind: Arc<str>, limit: Scalar, guarantee: Scalar },
    /// The role already uses more.
    #[error("limits.{kind}: {limit} is below the present consumption of {consumed}")]
    LimitBelowConsumption { kind: Arc<str>, limit: Scalar, consumed: Scalar },
    /// All guarantees together exceed what the cluster has.
    #[error("guarantees.{kind}: {guaranteed} are guaranteed in all, the cluster has {capacity}")]
    Overcommitted { kind: Arc<str>, guaranteed: Scalar, capacity: Scalar },
}

/// What a top-level role, with all below it, is sure to get and gets at most.
///
/// A kind that `guarantees` does not name is not guaranteed; a kind that `limits` does not name is not limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    role: Role,
    guarantees: Quantities,
    limits: Quantities,
}

impl Quota {
    /// A quota of `role`. Amounts are judged kind by kind: not negative, at most [`QUOTA_BYTES_KINDS_MAX`] of `mem` and
    /// `disk` and [`QUOTA_AMOUNT_MAX`] of others, no guarantee above its limit. Both empty means no quota.
    pub fn new(role: Role, guarantees: Quantities, limits: Quantities) -> Result<Self, QuotaError> {
        if !role.is_valid() {
            return Err(QuotaError::InvalidRole { role });
        }
        if role.parent().is_some() {
            let top = role.top_level().to_owned();
            return Err(QuotaError::Nested { role, top });
        }
        check_amounts(QuotaField::Guarantees, &guarantees)?;
        check_amounts(QuotaField::Limits, &limits)?;
        let above = guarantees.iter().find_map(|(kind, guarantee)| {
            let limit = limits.get_exact(kind).filter(|limit| *limit < guarantee)?;
            Some(QuotaError::LimitBelowGuarantee { kind: kind.clone(), limit, guarantee })
        });
        match above {
            Some(error) => Err(error),
            None => Ok(Self { role, guarantees: without_zeros(&guarantees), limits }),
        }
    }

    /// The same from the wire's doubles, rounded to thousandths; what is not finite, or rounds to zero without being it,
    /// is refused.
    pub fn from_doubles<'a>(
        role: Role,
        guarantees: impl IntoIterator<Item = (&'a str, f64)>,
        limits: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<Self, QuotaError> {
        let guarantees = from_doubles(QuotaField::Guarantees, guarantees)?;
        let limits = from_doubles(QuotaField::Limits, limits)?;
        Self::new(role, guarantees, limits)
    }

    /// Whose it is: a top-level role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// What the role is sure to get; without zeros.
    pub fn guarantees(&self) -> &Quantities {
        &self.guarantees
    }

    /// What it gets at most; a zero is a limit.
    pub fn limits(&self) -> &Quantities {
        &self.limits
    }

    /// Whether it says nothing: the role then has no quota.
    pub fn is_none(&self) -> bool {
        self.guarantees.is_empty() && self.limits.iter().len() == 0
    }

    /// Refuses limits below what the role consumes now.
    pub fn check_consumption(&self, consumed: &Quantities) -> Result<(), QuotaError> {
        let below = self.limits.iter().find(|(kind, limit)| *limit < consumed.get(kind));
        match below {
            Some((kind, limit)) => Err(QuotaError::LimitBelowConsumption {
                kind: kind.clone(),
                limit,
                consumed: consumed.get(kind),
            }),
            None => Ok(()),
        }
    }

    /// Refuses guarantees that together exceed `capacity`, the non-revocable resources of all agents.
    pub fn check_capacity<'a>(
        quotas: impl IntoIterator<Item = &'a Self>,
        capacity: &Quantities,
    ) -> Result<(), QuotaError> {
        let sum = |sum: Quantities, quota: &Self| sum.saturating_add(&quota.guarantees);
        let guaranteed = quotas.into_iter().fold(Quantities::default(), sum);
        let over = guaranteed.iter().find(|(kind, amount)| *amount > capacity.get(kind));
        match over {
            Some((kind, guaranteed)) => Err(QuotaError::Overcommitted {
                kind: kind.clone(),
                guaranteed,
                capacity: capacity.get(kind),
            }),
            None => Ok(()),
        }
    }
}

fn check_amounts(field: QuotaField, amounts: &Quantities) -> Result<(), QuotaError> {
    for (kind, amount) in amounts.iter() {
        let bound = if matches!(&**kind, "mem" | "disk") { QUOTA_BYTES_KINDS_MAX } else { QUOTA_AMOUNT_MAX };
        if amount < Scalar::ZERO {
            return Err(QuotaError::Negative { field, kind: kind.clone(), amount });
        }
        if amount > bound {
            return Err(QuotaError::TooMuch { field, kind: kind.clone(), amount, bound });
        }
    }
    Ok(())
}

fn without_zeros(amounts: &Quantities) -> Quantities {
    let positive = amounts.iter().filter(|(_, amount)| !amount.is_zero());
    positive.map(|(kind, amount)| (kind.clone(), amount)).collect()
}

fn from_doubles<'a>(
    field: QuotaField,
    amounts: impl IntoIterator<Item = (&'a str, f64)>,
) -> Result<Quantities, QuotaError> {
    let exact = amounts.into_iter().map(|(kind, value)| {
        let amount = Scalar::from_f64(value).filter(|amount| !amount.is_zero() || value == 0.0);
        let kind: Arc<str> = kind.into();
        match amount {
            Some(amount) => Ok((kind, amount)),
            None => Err(QuotaError::NotANumber { field, kind }),
        }
    });
    exact.collect()
}

/// Why a weight is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the bounds that the text names")]
pub enum WeightError {
    /// Not above zero, not a number, or less than a thousandth.
    #[error("weight: must be a number of at least 0.001")]
    TooSmall,
    /// Beyond [`WEIGHT_MAX_THOUSANDTHS`].
    #[error("weight: must be at most {max}")]
    TooLarge { max: u64 },
}

/// By how much a role's share is divided: 0.001 to a million, one by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

impl Weight {
    /// The weight of whoever has none.
    pub const ONE: Self = Self(1000);

    /// A weight in thousandths.
    pub fn from_thousandths(thousandths: u64) -> Result<Self, WeightError> {
        match thousandths {
            0 => Err(WeightError::TooSmall),
            1..=WEIGHT_MAX_THOUSANDTHS => Ok(Self(thousandths)),
            _ => Err(WeightError::TooLarge { max: WEIGHT_MAX_THOUSANDTHS / 1000 }),
        }
    }

    /// A weight from the wire's double, rounded to thousandths.
    pub fn from_f64(value: f64) -> Result<Self, WeightError> {
        if value.is_nan() || value <= 0.0 {
            return Err(WeightError::TooSmall);
        }
        let large = WeightError::TooLarge { max: WEIGHT_MAX_THOUSANDTHS / 1000 };
        let thousandths = Scalar::from_f64(value).ok_or(large)?.thousandths();
        Self::from_thousandths(u64::try_from(thousandths).map_err(|_| large)?)
    }

    /// The weight in thousandths, at least 1.
    pub fn thousandths(self) -> u64 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

/// A priority beyond ±[`PRIORITY_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("priority: {value} is not between -{PRIORITY_MAX} and {PRIORITY_MAX}")]
pub struct PriorityError {
    /// What was asked for.
    pub value: i64,
}

/// Who comes first under the policy of strict priorities: higher is served first, zero by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(i32);

impl Priority {
    /// A priority between −[`PRIORITY_MAX`] and [`PRIORITY_MAX`].
    pub fn new(value: i64) -> Result<Self, PriorityError> {
        let small = i32::try_from(value).ok().filter(|small| (-PRIORITY_MAX..=PRIORITY_MAX).contains(small));
        small.map(Self).ok_or(PriorityError { value })
    }

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

#[cfg(test)]
#[path = "quota_test.rs"]
mod tests;
