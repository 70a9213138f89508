//! Messages over a serial line.

use alloc::vec::Vec;

use millstream::wire::Payload;

use crate::{Done, Failed, Or};

/// 512: what the scene needs is below it, and a device has no memory for more.
const FRAME_MAX: usize = 512;

/// Where bytes come from and go to.
pub trait Port {
    /// Waits for a byte; none if the other end is gone.
    fn read(&mut self) -> Option<u8>;
    /// Sends bytes.
    fn write(&mut self, bytes: &[u8]);
}

/// Messages over a port.
#[derive(Debug)]
pub struct Line<P> {
    port: P,
    frame: Vec<u8>,
}

impl<P: Port> Line<P> {
    /// The line at a port.
    pub const fn new(port: P) -> Self {
        Self { port, frame: Vec::new() }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Failed`] if it is too long.
    #[inline(never)]
    pub fn send<M: Payload>(&mut self, message: &M) -> Done<()> {
        self.frame.clear();
        message.put_message(&mut self.frame);
        self.put_frame()
    }

    fn put_frame(&mut self) -> Done<()> {
        let length = u16::try_from(self.frame.len()).or_fail("a frame")?;
        self.port.write(&length.to_be_bytes());
        self.port.write(&self.frame);
        Ok(())
    }

    /// Waits for a message, which has to be of this kind.
    ///
    /// # Errors
    /// [`Failed`] if it is another one or cannot be read, or if the other end is gone.
    #[inline(never)]
    pub fn receive<M: Payload>(&mut self) -> Done<M> {
        M::take_message(self.frame()?).or_fail("a message")?.or_fail("another message")
    }

    /// Waits for a whole frame. Once for all kinds of messages.
    #[inline(never)]
    fn frame(&mut self) -> Done<&[u8]> {
        self.frame.clear();
        let mut missing = 2;
        while missing > 0 {
            self.frame.push(self.port.read().or_fail("the other end is gone")?);
            missing -= 1;
            if let [high, low] = *self.frame.as_slice() {
                missing = usize::from(u16::from_be_bytes([high, low]));
                if missing > FRAME_MAX {
                    return Err(Failed("a frame that is too long"));
                }
            }
        }
        self.frame.get(2..).or_fail("a frame")
    }
}
