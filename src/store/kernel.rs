//! Master keys in the kernel's keyrings: each under the name of its store and its own id, so that
//! none is in another's way. Uses `sys::keyring`.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::backend::RootRow;
use super::cipher::{Id, Key};
use super::key_file::MasterKey;
use super::keyring::id_of;
use super::layout::Layout;
use super::{Access, KeyError, KeySources, StoreError, StoreId};
use crate::sys::keyring::Keyring;

impl MasterKey {
    /// Puts it into a keyring, and looks whether it is there. Returns its name in there.
    pub fn load(
        &self,
        keyring: Keyring,
        store: &StoreId,
        lifetime: Option<Duration>,
    ) -> Result<String, KeyError> {
        let refused = |problem| KeyError::Keyring { keyring, problem };
        let id = id_of(&self.0);
        let name = name_of(store, &id);
        keyring.put(&name, self.0.expose(), lifetime).map_err(|error| refused(error.to_string()))?;
        match get(keyring, &name) {
            Ok(Some(there)) if id_of(&there.0) == id => Ok(name),
            Ok(_) => Err(refused("it does not give the key back".into())),
            Err(error) => Err(refused(error.to_string())),
        }
    }

    /// The master key of the store in this folder, from the first source that has it.
    pub fn of_store(dir: &Path, sources: &KeySources) -> Result<(StoreId, Self), StoreError> {
        let (layout, root) = root_of(dir)?;
        let store = StoreId(root.store);
        Ok((store, sources.find(layout.dir(), &store, &root.key)?.key))
    }
}

/// Takes the key that this store has now out of all keyrings. Returns those that had it.
pub fn unload(dir: &Path) -> Result<Vec<Keyring>, StoreError> {
    let (_, root) = root_of(dir)?;
    let name = name_of(&StoreId(root.store), &root.key);
    // The session last: in it is found what is in a keyring that it only has a link to.
    let all = Keyring::ALL.into_iter().rev();
    Ok(all.filter(|keyring| matches!(keyring.remove(&name), Ok(true))).collect())
}

/// The key of this id, from the first keyring that has it. A kernel without keyrings, or a unit
/// that may not use them, has none.
pub(super) fn find(store: &StoreId, wanted: &Id, skipped: &mut Vec<String>) -> Option<MasterKey> {
    let name = name_of(store, wanted);
    for keyring in Keyring::ALL {
        match get(keyring, &name) {
            Ok(Some(key)) if id_of(&key.0) == *wanted => return Some(key),
            Err(error) if error.raw_os_error() == Some(libc::EKEYEXPIRED) => {
                skipped.push(format!("the {} keyring: the key's time there is over", keyring.as_str()));
            }
            _ => {}
        }
    }
    None
}

/// Says of what store a key is, and which of its keys.
fn name_of(store: &StoreId, key: &Id) -> String {
    format!("secretfs:{store}:{}", super::change::hex(&key[..4]))
}

fn root_of(dir: &Path) -> Result<(Layout, RootRow), StoreError> {
    let layout = Layout::open(dir)?;
    let root = layout.backend().open(&layout.rows(), Access::Read)?.read()?.root()?;
    Ok((layout, root))
}

fn get(keyring: Keyring, name: &str) -> io::Result<Option<MasterKey>> {
    Ok(keyring.get::<32>(name)?.and_then(|payload| Key::from_bytes(&payload)).map(MasterKey))
}
