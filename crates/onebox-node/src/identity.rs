//! The identity of a node's disk, drawn at the first start and kept in the file `node`; and entropy.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use onebox_store::names::NodeId;

/// The file that says that a node's logs were begun.
const BEGUN: &str = "begun";

/// Random bytes from the system.
///
/// # Errors
/// A sentence.
pub(crate) fn entropy<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|error| format!("cannot read random bytes from the system: {error}"))?;
    Ok(bytes)
}

/// The identity stored in a data directory, drawn now if there is none.
///
/// # Errors
/// A sentence.
pub(crate) fn node_id(data: &Path) -> Result<NodeId, String> {
    let path = data.join("node");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let id = u128::from_str_radix(text.trim(), 16).ok();
            id.map(NodeId)
                .ok_or_else(|| format!("{} does not hold a node's identity; restore it, or start with an empty --data", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = NodeId(u128::from_le_bytes(entropy()?));
            write_durably(data, "node", &format!("{id}\n")).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            Ok(id)
        }
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Whether the node in a data directory has begun its logs before: without them it may not go on as if it were new.
///
/// # Errors
/// A sentence: that cannot be told.
pub(crate) fn has_begun(data: &Path) -> Result<bool, String> {
    let path = data.join(BEGUN);
    path.try_exists().map_err(|error| format!("cannot look for {}: {error}", path.display()))
}

/// From now on it has.
///
/// # Errors
/// A sentence.
pub(crate) fn begins(data: &Path) -> Result<(), String> {
    let text = "This node has begun its logs and may have promised something to others. Without them it does not start.\n";
    write_durably(data, BEGUN, text).map_err(|error| format!("cannot write {}: {error}", data.join(BEGUN).display()))
}

/// Writes a small file of a data directory: durable when this returns, and whole or as before after a power loss.
pub(crate) fn write_durably(data: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let fresh = data.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, data.join(name))?;
    File::open(data)?.sync_all()
}
