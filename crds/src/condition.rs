//! Condition types and reasons as closed lists, as the Gateway API spells them.
//!
//! Owns the spelling and which reason belongs to which kind of object. It must not know when a reason holds.

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every member.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word as it stands in a condition, and as a metric label.
            pub const fn label(self) -> &'static str {
                match self { $($name::$variant => stringify!($variant),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.label())
            }
        }

        impl From<$name> for Reason {
            fn from(reason: $name) -> Reason {
                Reason(reason.label())
            }
        }
    };
}

/// A reason of any kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(&'static str);

impl Reason {
    /// The word as it stands in a condition.
    pub const fn label(self) -> &'static str {
        self.0
    }
}

/// The types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object is syntactically and semantically valid, and somebody serves it.
    Accepted,
    /// The Gateway API's CRDs are of a version that is supported.
    SupportedVersion,
    /// The configuration has reached the data plane.
    Programmed,
    /// Every reference was found and is permitted.
    ResolvedRefs,
    /// A listener clashes with another.
    Conflicted,
    /// HTTPS listeners of one port have host names or certificates that overlap.
    OverlappingTLSConfig,
    /// Some rules of a route are not served, or some of what a policy asks for is not held to.
    PartiallyInvalid,
}

impl ConditionType {
    /// Every member.
    pub const ALL: &'static [ConditionType] = &[
        ConditionType::Accepted,
        ConditionType::SupportedVersion,
        ConditionType::Programmed,
        ConditionType::ResolvedRefs,
        ConditionType::Conflicted,
        ConditionType::OverlappingTLSConfig,
        ConditionType::PartiallyInvalid,
    ];

    /// The word as it stands in a condition, and as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            ConditionType::Accepted => "Accepted",
            ConditionType::SupportedVersion => "SupportedVersion",
            ConditionType::Programmed => "Programmed",
            ConditionType::ResolvedRefs => "ResolvedRefs",
            ConditionType::Conflicted => "Conflicted",
            ConditionType::OverlappingTLSConfig => "OverlappingTLSConfig",
            ConditionType::PartiallyInvalid => "PartiallyInvalid",
        }
    }

    /// Whether the condition reports trouble by being True rather than False.
    pub const fn is_negative(self) -> bool {
        matches!(
            self,
            ConditionType::Conflicted | ConditionType::OverlappingTLSConfig | ConditionType::PartiallyInvalid
        )
    }
}

impl std::fmt::Display for ConditionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

vocabulary! {
    /// Reasons on a GatewayClass.
    GatewayClassReason {
        /// Accepted is True.
        Accepted,
        /// `parametersRef` cannot be used.
        InvalidParameters,
        /// The class asks for what is not supported.
        Unsupported,
        /// Nobody has looked at it yet.
        Pending,
        /// SupportedVersion is True.
        SupportedVersion,
        /// The CRDs are of another version.
        UnsupportedVersion,
    }
}

vocabulary! {
    /// Reasons on a Gateway.
    GatewayReason {
        /// Accepted is True.
        Accepted,
        /// Some listeners are not valid.
        ListenersNotValid,
        /// Nobody has looked at it yet.
        Pending,
        /// An address of `spec.addresses` cannot be used at all.
        UnsupportedAddress,
        /// `infrastructure.parametersRef` cannot be used.
        InvalidParameters,
        /// Programmed is True.
        Programmed,
        /// The Gateway is not valid and so is not programmed.
        Invalid,
        /// No data plane to put it on.
        NoResources,
        /// No address yet.
        AddressNotAssigned,
        /// An address of `spec.addresses` could not be had.
        AddressNotUsable,
        /// ResolvedRefs is True.
        ResolvedRefs,
        /// `tls.backend.clientCertificateRef` cannot be used.
        InvalidClientCertificateRef,
        /// A reference into another namespace without a ReferenceGrant.
        RefNotPermitted,
        /// Some listeners have references that were not resolved.
        ListenersNotResolved,
    }
}

vocabulary! {
    /// Reasons on a ListenerSet.
    ListenerSetReason {
        /// Accepted is True.
        Accepted,
        /// The Gateway's `allowedListeners` leave the set out.
        NotAllowed,
        /// The Gateway itself is not accepted.
        ParentNotAccepted,
        /// Listeners are not valid: some, or all.
        ListenersNotValid,
        /// The set cannot be read.
        Invalid,
        /// Nobody has looked at it yet.
        Pending,
        /// Programmed is True.
        Programmed,
        /// The Gateway itself is not programmed.
        ParentNotProgrammed,
    }
}

vocabulary! {
    /// Reasons on an ancestor of a policy.
    PolicyReason {
        /// Accepted is True.
        Accepted,
        /// Another policy has the target.
        Conflicted,
        /// The policy asks for what is not supported.
        Invalid,
        /// No such target.
        TargetNotFound,
        /// No certificate authority that can be used.
        NoValidCACertificate,
        /// ResolvedRefs is True.
        ResolvedRefs,
        /// A certificate authority that is missing or cannot be used.
        InvalidCACertificateRef,
        /// A reference to a kind that is not supported.
        InvalidKind,
    }
}

vocabulary! {
    /// Reasons on a listener of a Gateway.
    ListenerReason {
        /// Accepted is True.
        Accepted,
        /// The port cannot be had.
        PortUnavailable,
        /// The protocol is not supported.
        UnsupportedProtocol,
        /// No certificate authority that can be used.
        NoValidCACertificate,
        /// A field has a value that is not supported.
        UnsupportedValue,
        /// Programmed is True.
        Programmed,
        /// The listener is not valid and so is not programmed.
        Invalid,
        /// Nobody has looked at it yet.
        Pending,
        /// ResolvedRefs is True.
        ResolvedRefs,
        /// A certificate that is missing or cannot be used.
        InvalidCertificateRef,
        /// A route kind that the listener cannot carry.
        InvalidRouteKinds,
        /// A reference into another namespace without a ReferenceGrant.
        RefNotPermitted,
        /// A certificate authority that is missing or cannot be used.
        InvalidCACertificateRef,
        /// A certificate authority of a kind that is not supported.
        InvalidCACertificateKind,
        /// Another listener of the port has the host name.
        HostnameConflict,
        /// Another listener of the port has another protocol.
        ProtocolConflict,
        /// Conflicted is False.
        NoConflicts,
        /// Host names overlap.
        OverlappingHostnames,
        /// Certificates overlap.
        OverlappingCertificates,
    }
}

vocabulary! {
    /// Reasons on a parent of a route.
    RouteReason {
        /// Accepted is True.
        Accepted,
        /// The listener's `allowedRoutes` leave the route out.
        NotAllowedByListeners,
        /// No listener has a host name in common with the route.
        NoMatchingListenerHostname,
        /// No listener of that section name or port.
        NoMatchingParent,
        /// A field has a value that is not supported; also the reason of PartiallyInvalid.
        UnsupportedValue,
        /// Nobody has looked at it yet.
        Pending,
        /// Filters that exclude one another.
        IncompatibleFilters,
        /// ResolvedRefs is True.
        ResolvedRefs,
        /// A reference into another namespace without a ReferenceGrant.
        RefNotPermitted,
        /// A reference to a kind that is not supported.
        InvalidKind,
        /// The backend does not exist.
        BackendNotFound,
        /// The backend speaks something that is not supported.
        UnsupportedProtocol,
    }
}

vocabulary! {
    /// Reasons on an Ingress. The kind has no conditions of its own; these are for diagnostics.
    IngressReason {
        /// Served.
        Accepted,
        /// A field has a value that is not supported.
        UnsupportedValue,
        /// The backend does not exist.
        BackendNotFound,
        /// A backend of a kind that is not supported.
        InvalidKind,
        /// The backend speaks something that is not supported.
        UnsupportedProtocol,
        /// A TLS Secret that is missing or cannot be used.
        InvalidCertificateRef,
        /// A Gateway has the port for another protocol.
        ProtocolConflict,
        /// Another listener of the port has the host name.
        HostnameConflict,
        /// Every reference was found.
        ResolvedRefs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words_that_kubernetes_takes_as_reasons() {
        let reasons = GatewayClassReason::ALL
            .iter()
            .map(|reason| reason.label())
            .chain(GatewayReason::ALL.iter().map(|reason| reason.label()))
            .chain(ListenerReason::ALL.iter().map(|reason| reason.label()))
            .chain(ListenerSetReason::ALL.iter().map(|reason| reason.label()))
            .chain(PolicyReason::ALL.iter().map(|reason| reason.label()))
            .chain(RouteReason::ALL.iter().map(|reason| reason.label()))
            .chain(IngressReason::ALL.iter().map(|reason| reason.label()))
            .chain(ConditionType::ALL.iter().map(|condition| condition.label()));
        for label in reasons {
            assert!(label.starts_with(|first: char| first.is_ascii_uppercase()), "{label}");
            assert!(label.chars().all(|c| c.is_ascii_alphanumeric()), "{label}");
        }
    }
}
