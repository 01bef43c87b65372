//! Changes to what is known of a secret beside its values: its metadata, when a version of it
//! expires, and whether it is given out at all. Its versions stay as they are.

use jiff::Timestamp;

use super::{Change, apply};
use crate::secret::SecretName;
use crate::store::record::Header;
use crate::store::witness::What;
use crate::store::{Edit, SecretInfo, StoreError};

impl Change<'_> {
    /// Changes the metadata of a secret that is there; not its type, which its fields are of.
    pub fn edit(&mut self, name: &SecretName, edit: &Edit) -> Result<SecretInfo, StoreError> {
        let edit = Edit { kind: None, ..edit.clone() };
        self.did(What::Edit, name, None);
        self.amend(name, |header| apply(header, &edit))
    }

    /// Lets the active version expire at another time, or never.
    pub fn expire(&mut self, name: &SecretName, at: Option<Timestamp>) -> Result<SecretInfo, StoreError> {
        self.did(What::Edit, name, None);
        self.amend(name, |header| {
            header.ends.insert(header.active, at);
            header.expires = at;
        })
    }

    /// A disabled secret is there, and nobody gets its values.
    pub fn disable(&mut self, name: &SecretName, is_disabled: bool) -> Result<SecretInfo, StoreError> {
        self.did(if is_disabled { What::Disable } else { What::Enable }, name, None);
        self.amend(name, |header| header.disabled = is_disabled)
    }

    fn amend(&mut self, name: &SecretName, work: impl FnOnce(&mut Header)) -> Result<SecretInfo, StoreError> {
        let Some((mut header, blob)) = self.find(name)? else {
            return Err(StoreError::SecretMissing(name.to_string()));
        };
        work(&mut header);
        let mac = self.keys.name_mac(name.as_str());
        let header = self.put_header(&mac, header, Some(blob))?;
        Ok(SecretInfo::from(header))
    }
}
