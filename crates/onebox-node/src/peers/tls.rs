//! How connections between nodes are secured: both sides show a certificate of the same authority, or it is clear text.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// The files of a node's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerTls {
    /// The certificate of the authority that signs all nodes' certificates; empty for clear text.
    pub authority: String,
    /// This node's certificate, for the host that stands in its address.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl PeerTls {
    /// Whether any file is named.
    pub(crate) fn is_set(&self) -> bool {
        *self != PeerTls::default()
    }
}

/// What connections are made with.
#[derive(Clone)]
pub(crate) enum Security {
    ClearText,
    Mutual { authority: Certificate, identity: Identity },
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// Which cannot be read.
    pub(crate) fn read(files: &PeerTls) -> Result<Security, String> {
        if !files.is_set() {
            return Ok(Security::ClearText);
        }
        let read = |name: &str, path: &str| {
            std::fs::read(Path::new(path)).map_err(|error| format!("peer_tls.{name}: cannot read {path:?}: {error}"))
        };
        let authority = Certificate::from_pem(read("authority", &files.authority)?);
        let identity = Identity::from_pem(read("certificate", &files.certificate)?, read("key", &files.key)?);
        Ok(Security::Mutual { authority, identity })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Security::ClearText => "http",
            Security::Mutual { .. } => "https",
        }
    }

    pub(crate) fn server(&self) -> Option<ServerTlsConfig> {
        match self {
            Security::ClearText => None,
            Security::Mutual { authority, identity } => {
                Some(ServerTlsConfig::new().identity(identity.clone()).client_ca_root(authority.clone()))
            }
        }
    }

    pub(crate) fn client(&self) -> Option<ClientTlsConfig> {
        match self {
            Security::ClearText => None,
            Security::Mutual { authority, identity } => {
                Some(ClientTlsConfig::new().ca_certificate(authority.clone()).identity(identity.clone()))
            }
        }
    }
}
