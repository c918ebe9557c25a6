//! What frameworks and agents can handle, as small sets of the v1 API's numbers.

macro_rules! capabilities {
    (
        $(#[$one_doc:meta])* $one:ident, $(#[$set_doc:meta])* $set:ident:
        $($variant:ident = $number:literal $name:literal),+ $(,)?
    ) => {
        $(#[$one_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        #[expect(missing_docs, reason = "the names are Mesos' and say it")]
        pub enum $one {
            $($variant = $number,)+
        }

        impl $one {
            /// Every capability, in the order of the API's numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The API's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The capability of this API name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }

            /// The capability with this API number.
            pub fn from_number(number: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| *one as i32 == number)
            }
        }

        $(#[$set_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $set(u32);

        impl $set {
            /// None of them.
            pub const NONE: Self = Self(0);

            /// All that this version knows.
            pub fn all() -> Self {
                $one::ALL.iter().copied().collect()
            }

            /// Whether `one` is in the set.
            pub fn has(self, one: $one) -> bool {
                self.0 & (1 << one as i32) != 0
            }

            /// The set with `one` in it.
            #[must_use]
            pub fn with(self, one: $one) -> Self {
                Self(self.0 | 1 << one as i32)
            }

            /// The set without `one`.
            #[must_use]
            pub fn without(self, one: $one) -> Self {
                Self(self.0 & !(1 << one as i32))
            }

            /// The capabilities with these API numbers; unknown numbers are ignored, as in Mesos.
            pub fn from_numbers(numbers: impl IntoIterator<Item = i32>) -> Self {
                numbers.into_iter().filter_map($one::from_number).collect()
            }

            /// The API numbers, ascending.
            pub fn numbers(self) -> impl Iterator<Item = i32> {
                self.iter().map(|one| one as i32)
            }

            /// The capabilities, in the order of the API's numbers.
            pub fn iter(self) -> impl Iterator<Item = $one> {
                $one::ALL.iter().copied().filter(move |one| self.has(*one))
            }
        }

        impl FromIterator<$one> for $set {
            fn from_iter<I: IntoIterator<Item = $one>>(list: I) -> Self {
                list.into_iter().fold(Self::NONE, Self::with)
            }
        }
    };
}

capabilities! {
    /// Something that a framework can handle. The numbers are those of `mesos.v1.FrameworkInfo.Capability.Type`.
    FrameworkCapability,
    /// What a framework can handle.
    FrameworkCapabilities:
    RevocableResources = 1 "REVOCABLE_RESOURCES",
    TaskKillingState = 2 "TASK_KILLING_STATE",
    GpuResources = 3 "GPU_RESOURCES",
    SharedResources = 4 "SHARED_RESOURCES",
    PartitionAware = 5 "PARTITION_AWARE",
    MultiRole = 6 "MULTI_ROLE",
    ReservationRefinement = 7 "RESERVATION_REFINEMENT",
    RegionAware = 8 "REGION_AWARE",
}

capabilities! {
    /// Something that an agent can do. The numbers are those of `mesos.v1.AgentInfo.Capability.Type`.
    AgentCapability,
    /// What an agent can do.
    AgentCapabilities:
    MultiRole = 1 "MULTI_ROLE",
    HierarchicalRole = 2 "HIERARCHICAL_ROLE",
    ReservationRefinement = 3 "RESERVATION_REFINEMENT",
    ResourceProvider = 4 "RESOURCE_PROVIDER",
    ResizeVolume = 5 "RESIZE_VOLUME",
    AgentOperationFeedback = 6 "AGENT_OPERATION_FEEDBACK",
    AgentDraining = 7 "AGENT_DRAINING",
    TaskResourceLimits = 8 "TASK_RESOURCE_LIMITS",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_both_ways() {
        for one in FrameworkCapability::ALL {
            assert_eq!(FrameworkCapability::from_number(*one as i32), Some(*one));
            assert_eq!(FrameworkCapability::from_name(one.name()), Some(*one));
        }
        assert_eq!(AgentCapabilities::from_numbers(1..=8), AgentCapabilities::all());
        assert_eq!(AgentCapabilities::from_numbers([8, 2, 2]).numbers().collect::<Vec<_>>(), [2, 8]);
    }

    #[test]
    fn unknown_numbers_are_ignored() {
        assert_eq!(
            FrameworkCapabilities::from_numbers([0, -1, 9, 31, 32, i32::MIN]),
            FrameworkCapabilities::NONE
        );
    }

    #[test]
    fn with_and_without() {
        let set = FrameworkCapabilities::NONE.with(FrameworkCapability::MultiRole);
        assert!(set.has(FrameworkCapability::MultiRole) && !set.has(FrameworkCapability::GpuResources));
        assert_eq!(set.without(FrameworkCapability::MultiRole), FrameworkCapabilities::NONE);
    }
}
