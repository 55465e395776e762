//! The screen of one phone: what was sent to it and from it, and what was reported of that, as the simulator tells it.

use std::collections::HashMap;

use super::board::{Board, Bubble, FrameShown, Item};
use crate::sim::{Happening, What, World};

pub struct Screen {
    phone: String,
    seen: u64,
    bubbles: HashMap<String, Bubble>,
}

impl Screen {
    /// The screen of this phone, with nothing on it.
    pub fn of(phone: &str) -> Screen {
        Screen { phone: phone.to_owned(), seen: 0, bubbles: HashMap::new() }
    }

    /// Looks what has happened since, and puts it up.
    pub fn look(&mut self, world: &World, board: &Board) {
        const PAGE: usize = 5_000;
        loop {
            let page = world.feed_since(self.seen, PAGE);
            for happening in &page {
                self.seen = happening.no;
                if let Some(bubble) = self.heed(world, happening) {
                    board.put(Item::Bubble(bubble));
                }
            }
            if page.len() < PAGE {
                return;
            }
        }
    }

    fn heed(&mut self, world: &World, happening: &Happening) -> Option<Bubble> {
        let no = self.bubbles.len();
        let bubble = match &happening.what {
            What::Accepted { wamid, to, .. } if *to == self.phone => {
                let message = world.message(wamid).filter(|message| message.fails.is_none())?;
                Bubble {
                    no,
                    id: wamid.clone(),
                    at: happening.at,
                    sms: message.phone_number_id.starts_with('+'),
                    own: false,
                    text: message.text.clone(),
                    frame: FrameShown::from(&message.frame),
                    replies: message
                        .buttons
                        .iter()
                        .map(|button| (button.text.clone(), button.payload.clone()))
                        .collect(),
                    tick: None,
                }
            }
            What::Inbound { wamid, from, kind, text } if *from == self.phone.trim_start_matches('+') => Bubble {
                no,
                id: wamid.clone(),
                at: happening.at,
                // At Twilio ids are sids.
                sms: !wamid.starts_with("wamid."),
                own: true,
                text: text.clone(),
                frame: FrameShown { header: (kind == "button").then(|| "button".to_owned()), ..FrameShown::default() },
                replies: Vec::new(),
                tick: Some("sent"),
            },
            What::Status { wamid, status, .. } => {
                let known = self.bubbles.get_mut(wamid)?;
                if place(status) <= known.tick.map_or(0, place) {
                    return None;
                }
                known.tick = Some(status);
                return Some(known.clone());
            }
            What::Accepted { .. }
            | What::Inbound { .. }
            | What::Refused { .. }
            | What::Fault { .. }
            | What::News { .. }
            | What::Posted { .. } => return None,
        };
        self.bubbles.insert(bubble.id.clone(), bubble.clone());
        Some(bubble)
    }
}

fn place(status: &str) -> usize {
    ["sent", "delivered", "read"].iter().position(|known| *known == status).map_or(0, |at| at + 1)
}
