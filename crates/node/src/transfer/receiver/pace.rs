//! How much of a snapshot is asked for at once.
//!
//! What is on its way is ahead of a heartbeat that is sent now. On a fast link that is nothing; on a slow one a
//! window that is always the same would hold heartbeats up for longer than an election takes. So the window goes by
//! how long pieces wait on the link: the time that a piece took, less the shortest time that any took. It grows
//! while that is little, and is halved when it is much, as LEDBAT does it (RFC 6817).

use std::time::Duration;

use super::super::Settings;

/// So long pieces may wait on the link.
const WAIT_MOST: Duration = Duration::from_millis(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    window: u64,
    /// The shortest time that a piece took.
    least: Option<Duration>,
    /// When the window was last halved: what was asked for before says nothing about the new one.
    halved: Duration,
}

impl Pace {
    pub(super) fn new(settings: &Settings) -> Pace {
        Pace {
            window: smallest(settings),
            least: None,
            halved: Duration::ZERO,
        }
    }

    /// So many bytes may be on their way.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// So large is the next piece. There are two on their way, or the link would have nothing to do at times.
    pub(super) fn piece(&self, settings: &Settings) -> u32 {
        let most = settings.chunk_bytes.clamp(1, Settings::CHUNK_BYTES_MAX);
        (self.window / 2).clamp(smallest(settings), u64::from(most)) as u32
    }

    /// A piece has come that was asked for at that time.
    pub(super) fn arrived(
        &mut self,
        asked: Duration,
        now: Duration,
        bytes: u32,
        settings: &Settings,
    ) {
        let took = now.saturating_sub(asked);
        let least = self.least.map_or(took, |least| least.min(took));
        self.least = Some(least);
        let waited = took - least;
        if waited > WAIT_MOST {
            self.halve(asked, now, settings);
        } else if waited <= WAIT_MOST / 2 {
            let most = u64::from(settings.chunk_bytes) * settings.window as u64;
            self.window = (self.window + u64::from(bytes)).min(most.max(smallest(settings)));
        }
    }

    /// A piece that was asked for at that time did not come.
    pub(super) fn halve(&mut self, asked: Duration, now: Duration, settings: &Settings) {
        if asked >= self.halved {
            self.window = (self.window / 2).max(smallest(settings));
            self.halved = now;
        }
    }
}

/// A piece of this size still holds nobody up at 40 KB a second.
fn smallest(settings: &Settings) -> u64 {
    u64::from(settings.chunk_bytes / 16).max(1)
}
