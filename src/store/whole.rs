//! Secrets as a whole, for whoever takes them over into another store. Uses `view`.

use std::collections::BTreeMap;

use super::{SecretInfo, Store, StoreError};
use crate::secret::{FieldName, Namespace, SecretBytes};

/// A secret with the values that are active, whether they are given out or not.
pub struct Whole {
    pub info: SecretInfo,
    pub fields: BTreeMap<FieldName, SecretBytes>,
}

impl Store {
    /// The secrets of a namespace with these names, as of one commit; by name.
    pub fn active(
        &self,
        namespace: &Namespace,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Whole>, StoreError> {
        let all = self.in_namespace(namespace, |view, keys| {
            let headers = view.headers(keys)?.into_iter().filter(|header| is_wanted(&header.name));
            headers
                .map(|mut header| {
                    let fields = view.active(keys, &header)?.fields;
                    header.disabled |= header.revoked.contains_key(&header.active);
                    Ok(Whole { info: SecretInfo::from(header), fields })
                })
                .collect()
        })?;
        Ok(all.unwrap_or_default())
    }
}
