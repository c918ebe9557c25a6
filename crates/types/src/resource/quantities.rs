//! Amounts by name, without conditions: for shares, quota and smallest offers.

use std::{fmt, str::FromStr, sync::Arc};

use super::{ResourceTextError, Resources, Scalar, text::parse_list};
use crate::Role;

/// Amounts by name, sorted by name. Zero amounts may be there: for a limit, "none" differs from "not named".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quantities(Vec<(Arc<str>, Scalar)>);

impl Quantities {
    /// Amounts in name order; equal names that follow each other add up.
    pub(super) fn from_sorted<'a>(amounts: impl Iterator<Item = (&'a Arc<str>, Scalar)>) -> Self {
        let mut out: Vec<(Arc<str>, Scalar)> = Vec::new();
        for (name, amount) in amounts {
            match out.last_mut() {
                Some((last, sum)) if *last == *name => *sum = sum.saturating_add(amount),
                _ => out.push((name.clone(), amount)),
            }
        }
        Self(out)
    }

    /// Whether every amount is zero.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, amount)| amount.is_zero())
    }

    /// The amount of `name`; zero if it is not named.
    pub fn get(&self, name: &str) -> Scalar {
        self.get_exact(name).unwrap_or(Scalar::ZERO)
    }

    /// The amount of `name`, if it is named.
    pub fn get_exact(&self, name: &str) -> Option<Scalar> {
        self.find(name).ok().map(|position| self.0[position].1)
    }

    /// Sets the amount of `name`.
    pub fn set(&mut self, name: Arc<str>, amount: Scalar) {
        match self.find(&name) {
            Ok(position) => self.0[position].1 = amount,
            Err(position) => self.0.insert(position, (name, amount)),
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(mine, _)| (**mine).cmp(name))
    }

    /// Names and amounts, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, Scalar)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// Whether each amount of `other` is there.
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(name, amount)| self.get(name) >= amount)
    }

    /// Both together; `None` on overflow.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let mut sum = self.clone();
        for (name, amount) in other.iter() {
            sum.set(name.clone(), self.get(name).checked_add(amount)?);
        }
        Some(sum)
    }

    /// Both together; amounts stop at [`Scalar::MAX`].
    pub fn saturating_add(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (name, amount) in other.iter() {
            sum.set(name.clone(), self.get(name).saturating_add(amount));
        }
        sum
    }

    /// What is left without `other`; `None` unless [`Quantities::contains`] holds.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.contains(other).then(|| self.saturating_sub(other))
    }

    /// What is left; amounts stop at zero and stay named.
    pub fn saturating_sub(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        other.iter().for_each(|(name, amount)| rest.take_one(name, amount));
        rest
    }

    /// Takes `amount` of `name` away, leaving at least zero.
    pub(super) fn take_one(&mut self, name: &str, amount: Scalar) {
        if let Ok(position) = self.find(name) {
            self.0[position].1 = self.0[position].1.saturating_sub(amount);
        }
    }

    /// The smaller amount of each kind that both name.
    pub fn min(&self, other: &Self) -> Self {
        let both = self.iter().filter_map(|(name, amount)| Some((name, amount.min(other.get_exact(name)?))));
        Self::from_sorted(both)
    }
}

impl FromIterator<(Arc<str>, Scalar)> for Quantities {
    /// Equal names add up, up to [`Scalar::MAX`].
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Scalar)>>(amounts: I) -> Self {
        let mut amounts: Vec<(Arc<str>, Scalar)> = amounts.into_iter().collect();
        amounts.sort_by(|left, right| left.0.cmp(&right.0));
        Self::from_sorted(amounts.iter().map(|(name, amount)| (name, *amount)))
    }
}

impl From<&Resources> for Quantities {
    fn from(resources: &Resources) -> Self {
        resources.quantities()
    }
}

impl FromStr for Quantities {
    type Err = ResourceTextError;

    /// Reads `cpus:2;mem:1024`: scalars only, without roles or conditions. Zeros stay named.
    fn from_str(text: &str) -> Result<Self, ResourceTextError> {
        let list = parse_list(text, &Role::any())?;
        if let Some(other) = list.iter().find(|resource| !is_plain_scalar(resource)) {
            return Err(ResourceTextError::NotAQuantity { piece: other.to_string() });
        }
        let named = list.iter().filter_map(|one| Some((one.name.clone(), one.value.as_scalar()?)));
        let quantities = named.collect();
        // Names, signs and sums are judged as those of any resources.
        Resources::new(list)?;
        Ok(quantities)
    }
}

fn is_plain_scalar(resource: &super::Resource) -> bool {
    resource.value.as_scalar().is_some() && resource.reservations.is_empty() && !resource.revocable
}

impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, amount)) in self.iter().enumerate() {
            let separator = if position == 0 { "" } else { ";" };
            write!(f, "{separator}{name}:{amount}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantities {
        text.parse().expect("well-formed")
    }

    #[test]
    fn arithmetic_by_name() {
        let table: &[(Quantities, &str)] = &[
            (q("cpus:1;mem:2").saturating_add(&q("mem:3;disk:1")), "cpus:1;disk:1;mem:5"),
            (q("cpus:1;mem:2").saturating_sub(&q("mem:3;disk:1")), "cpus:1;mem:0"),
            (q("cpus:1;mem:2").min(&q("mem:3;disk:1")), "mem:2"),
        ];
        for (result, expect) in table {
            assert_eq!(result.to_string(), *expect);
        }
        assert_eq!(q("mem:2").checked_sub(&q("mem:3")), None);
        assert_eq!(q("mem:3").checked_sub(&q("mem:1")), Some(q("mem:2")));
    }

    #[test]
    fn contains_treats_what_is_not_named_as_zero() {
        assert!(q("cpus:1;mem:2").contains(&q("cpus:1")));
        assert!(!q("cpus:1").contains(&q("cpus:1;mem:1")));
        assert!(q("").contains(&Quantities::default()));
        assert!(Quantities::from_iter([(Arc::from("cpus"), Scalar::ZERO)]).is_empty());
    }

    #[test]
    fn a_zero_in_a_text_stays_named_and_a_negative_amount_is_refused() {
        assert_eq!(q("cpus:0;mem:1;mem:2").to_string(), "cpus:0;mem:3");
        assert!("cpus:-1".parse::<Quantities>().is_err());
        assert!("cpus:9223372036854775;cpus:9223372036854775".parse::<Quantities>().is_err());
    }

    #[test]
    fn only_plain_scalars_are_quantities() {
        for text in ["ports:[1-2]", "cpus(eng):1", "cpus{REV}:1", "set:{a}"] {
            assert!(text.parse::<Quantities>().is_err(), "{text}");
        }
    }
}
