//! What a data directory holds, looked at while no node runs on it.

use std::path::Path;
use std::sync::Arc;

use onebox_client::placement;
use onebox_replica::{Beginning, Replica, absent_tenant};
use onebox_service::{Fault, Service, TenantId};
use onebox_store::state::View;
use onebox_store::{Disk, LogIndex};

use crate::folder::Folder;
use crate::seats::setup;
use crate::settings::Settings;
use crate::{StartError, claim, identity, partitions};

/// Looks at a tenant, and says in which partition it is, in the state that the base of a data directory holds: that of the last flush, which an orderly stop ends with.
///
/// # Errors
/// Why it cannot be opened: another process runs on it, what is on the disk, or there is no such tenant.
pub fn look<T>(
    service: &Arc<dyn Service>,
    data: &Path,
    settings: &Settings,
    tenant: &str,
    look: impl FnOnce(&View, TenantId) -> Result<T, Fault>,
) -> Result<(u32, T), StartError> {
    Folder::open(data)?;
    let _claim = claim::claim(data, "a look")?;
    let count = partitions::count(data, 0, None)?;
    let setup = setup(settings, identity::node_id(data)?, Beginning::Join, 0, count);
    let open = |partition| {
        let disk: Arc<dyn Disk> = Arc::new(Folder::open(&partitions::folder_of(data, partition, count))?);
        let opened = Replica::open(&disk, Arc::clone(service), setup.clone())?;
        if opened.replica.view().position().index == LogIndex(0) {
            return Err(StartError::Other(format!("{} holds no state yet, or its base is gone", data.display())));
        }
        Ok(opened)
    };
    let mut partition = placement(tenant, count);
    let mut opened = open(partition)?;
    let mut id = onebox_replica::tenant(opened.replica.view(), tenant)?;
    if id.is_none() {
        let refusal = absent_tenant(opened.replica.view(), tenant)?;
        let elsewhere = refusal.placed_in().filter(|partition| *partition < count);
        partition = elsewhere.ok_or(StartError::Other(refusal.message))?;
        opened = open(partition)?;
        id = onebox_replica::tenant(opened.replica.view(), tenant)?;
    }
    let id = id.ok_or_else(|| StartError::Other(format!("the tenant {tenant:?} is not created yet")))?;
    let view = opened.replica.view();
    Ok((partition, look(view, id)?))
}
