//! How the API server is reached: by the pod's own service account, or by a
//! kubeconfig file.
//!
//! Separate because it reads files and the environment, which may not be there
//! yet: it is tried again, not once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::meter::Meter;
use crate::telemetry::Own;

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node whose pods are asked for.
    pub node_name: String,
    /// The file that says how the API server is reached; `None`: it is reached
    /// as from within a pod.
    pub kubeconfig: Option<PathBuf>,
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not in a pod, or its service account is not mounted.
    #[error("no service account: {0}; run in a pod with one, or set kubernetes.kubeconfig")]
    ServiceAccount(#[from] InClusterError),
    /// The file is not usable.
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// A certificate or an address is not usable.
    #[error("cannot make a client: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// A client; nothing is connected before it is used.
///
/// # Errors
///
/// If it is not known how the API server is reached.
pub async fn connect(place: &Place, own: &Arc<Own>) -> Result<Client, Error> {
    let mut config = match &place.kubeconfig {
        None => Config::incluster()?,
        Some(path) => {
            let file = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Repeated by who watches, with a pause that grows.
    config.default_retry = false;
    client(config, own)
}

/// A client of this API server.
pub(super) fn client(config: Config, own: &Arc<Own>) -> Result<Client, Error> {
    let builder =
        ClientBuilder::try_from(config).map_err(|error| Error::Client(Box::new(error)))?;
    Ok(builder.with_layer(&Meter::new(Arc::clone(own))).build())
}
