//! Where a machine stands, by what fails together.

use std::{fmt, str::FromStr, sync::Arc};

/// A region and a zone of it. Agents of another region than the leader's are for frameworks that are aware of regions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultDomain {
    /// Such as a city.
    pub region: Arc<str>,
    /// A part of it, such as a building.
    pub zone: Arc<str>,
}

/// The text is not `REGION/ZONE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not REGION/ZONE")]
pub struct FaultDomainTextError(pub String);

impl FromStr for FaultDomain {
    type Err = FaultDomainTextError;

    /// Reads `region/zone`: two names, neither of them empty, with one slash between them.
    fn from_str(text: &str) -> Result<Self, FaultDomainTextError> {
        let is_name = |name: &str| !name.is_empty() && !name.contains('/') && name.trim() == name;
        match text.split_once('/') {
            Some((region, zone)) if is_name(region) && is_name(zone) => {
                Ok(Self { region: region.into(), zone: zone.into() })
            }
            _ => Err(FaultDomainTextError(text.to_owned())),
        }
    }
}

impl fmt::Display for FaultDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_two_names_and_one_slash() {
        let good: FaultDomain = "eu-north/hall 2".parse().unwrap();
        assert_eq!((&*good.region, &*good.zone), ("eu-north", "hall 2"));
        assert_eq!(good.to_string(), "eu-north/hall 2");
        for wrong in ["", "eu", "/", "eu/", "/a", "eu/a/b", " eu/a", "eu/a "] {
            let error = wrong.parse::<FaultDomain>().unwrap_err();
            assert_eq!(error, FaultDomainTextError(wrong.to_owned()));
            assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
