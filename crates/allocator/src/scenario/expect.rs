//! Whether what was offered is what was expected.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use mesarch_types::{AgentId, FrameworkId, Resources, Role};

use super::{
    cluster::{Cluster, Holding, InverseOffer, Offer},
    step::{Expectation, Expected},
};
use crate::share::{fraction, is_near};

/// Shares are equal if they differ by no more.
const SHARE_TOLERANCE: f64 = 1e-6;

/// What was made since the last expectation of its kind.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) offers: Vec<Offer>,
    pub(super) inverse_offers: Vec<InverseOffer>,
}

/// What was expected and what was there, in words.
pub(super) struct Mismatch {
    pub(super) expected: String,
    pub(super) got: String,
}

type Offers = BTreeMap<Holding, Resources>;

impl Expectation {
    /// Judges, and forgets the news that it is about.
    pub(super) fn check(&self, news: &mut News, cluster: &Cluster) -> Result<(), Mismatch> {
        match self {
            Self::Offers(expected) => {
                let (expected, got) = (merged(expected), made(&take(&mut news.offers)));
                equal(expected == got, || (show_offers(&expected), show_offers(&got)))
            }
            Self::OneOf(sets) => {
                let sets: Vec<Offers> = sets.iter().map(merged).collect();
                let got = made(&take(&mut news.offers));
                let all = || sets.iter().map(show_offers).collect::<Vec<_>>().join(" or ");
                equal(sets.contains(&got), || (format!("one of {}", all()), show_offers(&got)))
            }
            Self::Total(expected) => {
                let got = totals(&take(&mut news.offers));
                let wanted: BTreeMap<_, _> = expected
                    .iter()
                    .filter(|(_, sum)| !sum.is_empty())
                    .map(|(who, sum)| (who.clone(), sum.clone()))
                    .collect();
                equal(wanted == got, || (show_map(&wanted), show_map(&got)))
            }
            Self::Fraction(kind, fractions, tolerance) => {
                let got = fractions_of(kind, fractions, &totals(&take(&mut news.offers)));
                near(fractions, &got, *tolerance)
            }
            Self::Inverse(expected) => {
                let got: BTreeSet<(FrameworkId, AgentId)> = take(&mut news.inverse_offers)
                    .into_iter()
                    .map(|one| (one.framework, one.agent))
                    .collect();
                equal(*expected == got, || (show_pairs(expected), show_pairs(&got)))
            }
            Self::Shares(shares) => {
                let got = shares.keys().map(|name| (name.clone(), share_of(name, cluster))).collect();
                near(shares, &got, SHARE_TOLERANCE)
            }
        }
    }
}

fn take<T>(news: &mut Vec<T>) -> Vec<T> {
    std::mem::take(news)
}

fn equal(is: bool, words: impl FnOnce() -> (String, String)) -> Result<(), Mismatch> {
    if is {
        return Ok(());
    }
    let (expected, got) = words();
    Err(Mismatch { expected, got })
}

fn near<K: Ord + ToString>(
    expected: &BTreeMap<K, f64>,
    got: &BTreeMap<K, f64>,
    tolerance: f64,
) -> Result<(), Mismatch> {
    let is = expected
        .iter()
        .all(|(name, value)| got.get(name).is_some_and(|got| is_near(*got, *value, tolerance)));
    equal(is, || (format!("{} within {tolerance}", show_map(expected)), show_map(got)))
}

fn merged(expected: &Expected) -> Offers {
    let mut offers = Offers::new();
    for (framework, role, agent, resources) in expected {
        *offers.entry((framework.clone(), role.clone(), agent.clone())).or_default() += resources;
    }
    offers
}

fn made(news: &[Offer]) -> Offers {
    let mut offers = Offers::new();
    for Offer { framework, role, agent, resources } in news {
        *offers.entry((framework.clone(), role.clone(), agent.clone())).or_default() += resources;
    }
    offers
}

fn totals(news: &[Offer]) -> BTreeMap<FrameworkId, Resources> {
    let mut totals: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
    for offer in news {
        *totals.entry(offer.framework.clone()).or_default() += &offer.resources;
    }
    totals
}

fn fractions_of(
    kind: &str,
    wanted: &BTreeMap<FrameworkId, f64>,
    totals: &BTreeMap<FrameworkId, Resources>,
) -> BTreeMap<FrameworkId, f64> {
    let amount = |resources: &Resources| resources.quantities().get(kind).thousandths();
    let whole = totals.values().fold(0, |sum: i64, resources| sum.saturating_add(amount(resources)));
    let part = |who: &FrameworkId| fraction(totals.get(who).map_or(0, amount), whole);
    wanted.keys().map(|who| (who.clone(), part(who))).collect()
}

fn share_of(name: &str, cluster: &Cluster) -> f64 {
    let framework = FrameworkId::from(name);
    let (role, allocator) = (Role::from(name), &cluster.allocator);
    match cluster.frameworks.contains_key(&framework) && !allocator.knows_role(&role) {
        true => allocator.framework_share(&framework).as_f64(),
        false => allocator.role_share(&role).as_f64(),
    }
}

fn show_offers(offers: &Offers) -> String {
    let one = |((framework, role, agent), resources): (&Holding, &Resources)| {
        format!("{framework} in {role} on {agent}: {resources}")
    };
    bracketed(offers.iter().map(one))
}

fn show_pairs(pairs: &BTreeSet<(FrameworkId, AgentId)>) -> String {
    bracketed(pairs.iter().map(|(framework, agent)| format!("{framework} on {agent}")))
}

fn show_map<K: ToString, V: ToString>(map: &BTreeMap<K, V>) -> String {
    bracketed(map.iter().map(|(name, value)| format!("{}: {}", name.to_string(), value.to_string())))
}

fn bracketed(parts: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    for (position, part) in parts.enumerate() {
        let comma = if position == 0 { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = write!(text, "{comma}{part}");
    }
    text.push(']');
    text
}
