//! Writes a backup.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::{ArchiveError, Head, MAX_NAME_BYTES, content::ContentWriter};

/// Writes one backup.
pub(in crate::commands) struct Writer<W> {
    content: ContentWriter<W>,
    digest: Sha256,
}

impl<W: Write> Writer<W> {
    /// Writes the head. With a passphrase the head must say how it is sealed.
    pub(in crate::commands) fn begin(
        mut file: W,
        head: &Head,
        passphrase: Option<&str>,
    ) -> Result<Self, ArchiveError> {
        let lines = head.lines()?;
        file.write_all(&lines)?;
        let digest = Sha256::new_with_prefix(&lines);
        let content = match (&head.sealed, passphrase) {
            (Some(seal), Some(passphrase)) => {
                let cipher = seal.parameters()?.cipher(passphrase, &lines).map_err(io::Error::other)?;
                ContentWriter::sealed(file, cipher)
            }
            _ => ContentWriter::Clear(file),
        };
        Ok(Self { content, digest })
    }

    /// Adds a file of a known length.
    pub(in crate::commands) fn add(&mut self, name: &str, length: u64, bytes: impl Read) -> io::Result<()> {
        debug_assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES, "{name}");
        let name_length = u16::try_from(name.len()).map_err(io::Error::other)?;
        self.put(&name_length.to_be_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&length.to_be_bytes())?;
        let mut bytes = bytes.take(length);
        let mut buffer = vec![0; 64 * 1024];
        let mut copied = 0;
        loop {
            let count = bytes.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            copied += count as u64;
            self.put(&buffer[..count])?;
        }
        if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Writes the end, and returns the file.
    pub(in crate::commands) fn finish(mut self) -> io::Result<W> {
        self.put(&[0, 0])?;
        let digest = self.digest.clone().finalize();
        self.content.write(&digest)?;
        self.content.finish()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.content.write(bytes)
    }
}
