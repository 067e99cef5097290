//! Reads a backup. What it says is checked: it may come from a stranger, or from a broken disk.

use std::io::{BufRead, Read, Write};

use aldis_auth::ChunkCipher;
use sha2::{Digest, Sha256};

use super::{ArchiveError, FORMAT, Head, MAGIC, MAX_HEAD_BYTES, MAX_NAME_BYTES, content::ContentReader};

/// A backup of which the head is known.
pub(in crate::commands) struct Reader<R> {
    file: R,
    lines: Vec<u8>,
    head: Head,
}

/// A backup whose files are read.
pub(in crate::commands) struct Files<R> {
    content: ContentReader<R>,
    digest: Sha256,
    left: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the head.
    pub(in crate::commands) fn open(mut file: R) -> Result<Self, ArchiveError> {
        let mut lines = vec![0; MAGIC.len()];
        file.read_exact(&mut lines).map_err(|_| ArchiveError::NoBackup)?;
        if lines != MAGIC {
            return Err(ArchiveError::NoBackup);
        }
        (&mut file).take(MAX_HEAD_BYTES as u64).read_until(b'\n', &mut lines)?;
        let json = lines[MAGIC.len()..].strip_suffix(b"\n").ok_or(ArchiveError::Damaged)?;
        let format = serde_json::from_slice::<Format>(json).map_err(|_| ArchiveError::Damaged)?.format;
        if format != FORMAT {
            return Err(ArchiveError::NewerFormat(format));
        }
        let head = serde_json::from_slice(json).map_err(|_| ArchiveError::Damaged)?;
        Ok(Self { file, lines, head })
    }

    /// What it says about itself.
    pub(in crate::commands) const fn head(&self) -> &Head {
        &self.head
    }

    /// Opens the content; a sealed one with its passphrase.
    pub(in crate::commands) fn files(self, passphrase: Option<&str>) -> Result<Files<R>, ArchiveError> {
        let Self { file, lines, head } = self;
        let content = match (&head.sealed, passphrase) {
            (None, _) => ContentReader::Clear(file),
            (Some(seal), passphrase) => {
                let parameters = seal.parameters()?;
                let cipher = parameters.cipher(passphrase.unwrap_or_default(), &lines);
                let cipher: ChunkCipher = cipher.map_err(|_| ArchiveError::Damaged)?;
                ContentReader::sealed(file, cipher)?
            }
        };
        Ok(Files { content, digest: Sha256::new_with_prefix(&lines), left: 0 })
    }
}

#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

impl<R: Read> Files<R> {
    /// The name of the next file; `None` at the end, whose checksum is right.
    pub(in crate::commands) fn next(&mut self) -> Result<Option<String>, ArchiveError> {
        let mut length = [0; 2];
        self.take(&mut length)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 {
            return self.check_end().map(|()| None);
        }
        if length > MAX_NAME_BYTES {
            return Err(ArchiveError::Damaged);
        }
        let mut name = vec![0; length];
        self.take(&mut name)?;
        let mut size = [0; 8];
        self.take(&mut size)?;
        self.left = u64::from_be_bytes(size);
        String::from_utf8(name).map(Some).map_err(|_| ArchiveError::Damaged)
    }

    /// Copies the file whose name was read last.
    pub(in crate::commands) fn copy_to(&mut self, mut target: impl Write) -> Result<(), ArchiveError> {
        let mut buffer = vec![0; 64 * 1024];
        while self.left > 0 {
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
            self.take(&mut buffer[..count])?;
            target.write_all(&buffer[..count])?;
            self.left -= count as u64;
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), ArchiveError> {
        let expected = self.digest.clone().finalize();
        let mut found = [0; 32];
        self.content.read(&mut found)?;
        if found == *expected && self.content.is_at_end()? { Ok(()) } else { Err(ArchiveError::Damaged) }
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        self.content.read(buffer)?;
        self.digest.update(&*buffer);
        Ok(())
    }
}
