//! Takes secrets from the keys that only open to the one that seals, as they are: nothing that a
//! reader would notice. Part of `change`.

use super::super::StoreError;
use super::super::backend::HeaderRow;
use super::super::cipher::Mac;
use super::super::keyring::RecordPlace;
use super::super::record::Header;
use super::super::view::another_record;
use super::Change;

impl Change<'_> {
    /// Seals these anew, if they are there and not sealed with the active key.
    pub(in super::super) fn reseal(&mut self, names: &[Mac]) -> Result<(), StoreError> {
        for name in names {
            match self.rows.header(&self.keys.id, name)? {
                Some(row) if !self.keys.is_current(&row.header)? => self.take_over(name, row)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The records before the header, and all at once: a current header means current records.
    fn take_over(&mut self, name: &Mac, row: HeaderRow) -> Result<(), StoreError> {
        let plain = self.keys.open_header(name, &row.header)?;
        let mut header = Header::decode(&plain)?;
        let resealed = self.reseal_records(name, &mut header);
        resealed.map_err(|error| error.about(&header.name))?;
        let blob = self.keys.seal_header(name, &header.encode())?;
        // What vouches for it keeps its epoch, as the header does: no reader has to look again.
        let members = &mut self.touch(name)?.members;
        members.check(name, Some(&row.header))?;
        members.put(name, &blob);
        self.rows.put_header(&self.keys.id, &HeaderRow { header: blob, ..row })
    }

    pub(super) fn reseal_records(&self, name: &Mac, header: &mut Header) -> Result<(), StoreError> {
        for (version, blob) in self.rows.records(&self.keys.id, name)? {
            if !self.keys.is_current(&blob)? {
                let place = RecordPlace { name, secret: &header.id, version };
                if !header.is_record(version, &blob) {
                    return Err(another_record(version));
                }
                let sealed = self.keys.seal_record(place, &self.keys.open_record(place, &blob)?)?;
                header.note_record(version, &sealed);
                self.rows.put_record(&self.keys.id, name, version, &sealed)?;
            }
        }
        Ok(())
    }
}
