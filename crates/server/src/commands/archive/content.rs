//! The bytes of the content as they stand in the file: in the clear, or sealed in chunks.

use std::io::{self, Read, Write};

use aldis_auth::{CHUNK_BYTES, CHUNK_OVERHEAD, ChunkCipher};
use zeroize::Zeroizing;

use super::ArchiveError;

/// Writes the content.
pub(super) enum ContentWriter<W> {
    Clear(W),
    Sealed { file: W, cipher: ChunkCipher, chunk: Zeroizing<Vec<u8>> },
}

/// Reads the content.
pub(super) enum ContentReader<R> {
    Clear(R),
    Sealed(SealedReader<R>),
}

/// Reads one chunk ahead, because only the last one is sealed as the last.
pub(super) struct SealedReader<R> {
    file: R,
    cipher: ChunkCipher,
    ahead: Vec<u8>,
    open: Zeroizing<Vec<u8>>,
    taken: usize,
    is_first: bool,
    is_last: bool,
}

impl<W: Write> ContentWriter<W> {
    pub(super) fn sealed(file: W, cipher: ChunkCipher) -> Self {
        Self::Sealed { file, cipher, chunk: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES)) }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let (file, cipher, chunk) = match self {
            Self::Clear(file) => return file.write_all(bytes),
            Self::Sealed { file, cipher, chunk } => (file, cipher, chunk),
        };
        while !bytes.is_empty() {
            // A full chunk waits until it is known that it is not the last.
            if chunk.len() == CHUNK_BYTES {
                file.write_all(&cipher.seal(chunk, false).map_err(io::Error::other)?)?;
                chunk.clear();
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - chunk.len()));
            chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes what is left, and returns the file.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Clear(file) => Ok(file),
            Self::Sealed { mut file, mut cipher, chunk } => {
                file.write_all(&cipher.seal(&chunk, true).map_err(io::Error::other)?)?;
                Ok(file)
            }
        }
    }
}

impl<R: Read> ContentReader<R> {
    pub(super) fn sealed(mut file: R, cipher: ChunkCipher) -> Result<Self, ArchiveError> {
        let ahead = next_chunk(&mut file)?;
        let open = Zeroizing::default();
        Ok(Self::Sealed(SealedReader { file, cipher, ahead, open, taken: 0, is_first: true, is_last: false }))
    }

    /// Fills the buffer.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        match self {
            Self::Clear(file) => file.read_exact(buffer).map_err(cut_short),
            Self::Sealed(sealed) => sealed.read(buffer),
        }
    }

    /// Whether nothing follows.
    pub(super) fn is_at_end(&mut self) -> Result<bool, ArchiveError> {
        match self {
            Self::Clear(file) => Ok(file.read(&mut [0])? == 0),
            Self::Sealed(sealed) => Ok(sealed.is_last && sealed.taken == sealed.open.len()),
        }
    }
}

impl<R: Read> SealedReader<R> {
    fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), ArchiveError> {
        while !buffer.is_empty() {
            if self.taken == self.open.len() {
                self.open_next()?;
            }
            let count = buffer.len().min(self.open.len() - self.taken);
            let (now, later) = buffer.split_at_mut(count);
            now.copy_from_slice(&self.open[self.taken..self.taken + count]);
            self.taken += count;
            buffer = later;
        }
        Ok(())
    }

    fn open_next(&mut self) -> Result<(), ArchiveError> {
        if self.is_last {
            return Err(ArchiveError::Damaged);
        }
        let sealed = std::mem::take(&mut self.ahead);
        self.ahead = next_chunk(&mut self.file)?;
        self.is_last = self.ahead.is_empty();
        let wrong = if self.is_first { ArchiveError::WrongPassphrase } else { ArchiveError::Damaged };
        self.open = self.cipher.open(&sealed, self.is_last).map_err(|_| wrong)?;
        self.is_first = false;
        self.taken = 0;
        if self.open.is_empty() { Err(ArchiveError::Damaged) } else { Ok(()) }
    }
}

/// Up to a whole sealed chunk; empty at the end.
fn next_chunk(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_OVERHEAD);
    file.take((CHUNK_BYTES + CHUNK_OVERHEAD) as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

fn cut_short(error: io::Error) -> ArchiveError {
    if error.kind() == io::ErrorKind::UnexpectedEof { ArchiveError::Damaged } else { ArchiveError::Io(error) }
}
