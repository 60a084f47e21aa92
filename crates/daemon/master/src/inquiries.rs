//! Questions what frameworks are not offered, and why, answered beside the decisions.
//!
//! Only the allocator itself knows, and it is the deciding thread's. So this one read is not answered from a
//! snapshot: the deciding thread looks at a few agents at a time, between two batches of what it decides, and
//! gives no more than a tenth of its time to it while there is anything to decide.

use std::{collections::VecDeque, time::Instant};

use mezzo_allocator::{Inquiry, WithheldSum};
use mezzo_ids::FrameworkId;
use mezzo_master::Master;
use tokio::sync::oneshot;

/// Agents looked at in one part, which takes some tenths of a millisecond: whatever has to be decided waits
/// no longer for it.
const PART_AGENTS: u64 = 1000;
/// After a part, this many times as long as it took belongs to decisions, if there are any.
const REST: u32 = 9;
/// Frameworks whose turn has not come. One after the other is looked at; more askers are sent away.
const WAITING_MAX: usize = 64;

/// What an asker is told.
#[derive(Debug)]
pub(crate) enum Explained {
    /// By role and reason.
    Withheld(Vec<WithheldSum>),
    /// There is no such framework.
    Unknown,
    /// [`WAITING_MAX`] others ask already.
    TooMany,
}

/// Who asks.
pub(crate) type Asker = oneshot::Sender<Explained>;

/// All questions that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Inquiries {
    /// The one that was begun.
    current: Option<Question>,
    /// In the order in which they were asked, each framework once.
    waiting: VecDeque<Question>,
    /// When the next part may be done though decisions wait.
    rested: Option<Instant>,
}

#[derive(Debug)]
struct Question {
    inquiry: Inquiry,
    askers: Vec<Asker>,
}

impl Inquiries {
    /// Takes a question. Whoever asks what waits to be looked at shares the answer.
    pub(crate) fn ask(&mut self, master: &Master, framework: &FrameworkId, asker: Asker) {
        // Whoever went away needs no answer, here and below.
        if let Some(same) = self.waiting.iter_mut().find(|known| known.inquiry.framework() == framework) {
            same.askers.retain(|asker| !asker.is_closed());
            same.askers.push(asker);
        } else if self.waiting.len() >= WAITING_MAX {
            let _ = asker.send(Explained::TooMany);
        } else if let Some(inquiry) = master.inquiry(framework) {
            self.waiting.push_back(Question { inquiry, askers: vec![asker] });
        } else {
            let _ = asker.send(Explained::Unknown);
        }
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// Looks at some agents, unless decisions need the time.
    pub(crate) fn go_on(&mut self, master: &Master, is_idle: bool) {
        let begun = Instant::now();
        if !is_idle && self.rested.is_some_and(|rested| begun < rested) {
            return;
        }
        let Some(mut question) = self.current.take().or_else(|| self.waiting.pop_front()) else { return };
        question.askers.retain(|asker| !asker.is_closed());
        if question.askers.is_empty() {
            return;
        }
        if master.inquire(&mut question.inquiry, PART_AGENTS) {
            let withheld = question.inquiry.finish();
            for asker in question.askers {
                let _ = asker.send(Explained::Withheld(withheld.clone()));
            }
        } else {
            self.current = Some(question);
        }
        self.rested = Some(begun + begun.elapsed().saturating_mul(1 + REST));
    }

    /// Until when to wait for something to decide: not at all while there is something to look at.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>) -> Option<Instant> {
        if self.is_empty() { deadline } else { Some(Instant::now()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checks::tests::World;

    /// A master with so many frameworks, and their ids.
    fn frameworks(count: usize) -> (World, Vec<FrameworkId>) {
        let mut world = World::new(1);
        (0..count).for_each(|_| world.subscribe("a"));
        let ids: Vec<_> = world.schedulers.values().cloned().collect();
        assert_eq!(ids.len(), count);
        (world, ids)
    }

    fn ask(
        inquiries: &mut Inquiries,
        world: &World,
        framework: &FrameworkId,
    ) -> oneshot::Receiver<Explained> {
        let (asker, answer) = oneshot::channel();
        inquiries.ask(&world.master, framework, asker);
        answer
    }

    #[test]
    fn who_asks_for_the_same_shares_the_answer() {
        let (world, ids) = frameworks(2);
        let mut inquiries = Inquiries::default();
        let mut answers: Vec<_> = [0, 1, 0].map(|n| ask(&mut inquiries, &world, &ids[n])).into();
        assert_eq!(inquiries.waiting.len(), 2);
        while !inquiries.is_empty() {
            assert!(inquiries.wait_until(None).is_some_and(|at| at <= Instant::now()));
            inquiries.go_on(&world.master, true);
        }
        for answer in &mut answers {
            assert!(matches!(answer.try_recv(), Ok(Explained::Withheld(_))));
        }
        assert_eq!(inquiries.wait_until(None), None);
        let mut nobody = ask(&mut inquiries, &world, &"nobody".into());
        assert!(matches!(nobody.try_recv(), Ok(Explained::Unknown)));
    }

    #[test]
    fn more_than_can_wait_are_sent_away() {
        let (world, ids) = frameworks(WAITING_MAX + 1);
        let mut inquiries = Inquiries::default();
        let mut answers: Vec<_> = ids.iter().map(|id| ask(&mut inquiries, &world, id)).collect();
        let mut last = answers.pop().unwrap();
        assert!(matches!(last.try_recv(), Ok(Explained::TooMany)));
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "they wait");
        let mut first = ask(&mut inquiries, &world, &ids[0]);
        assert!(first.try_recv().is_err(), "what waits already is shared");
        // Nobody looks for those who went away.
        drop((answers, first));
        (0..WAITING_MAX).for_each(|_| inquiries.go_on(&world.master, true));
        assert!(inquiries.is_empty() && inquiries.rested.is_none());
    }

    #[test]
    fn decisions_that_wait_have_most_of_the_time() {
        let (world, ids) = frameworks(2);
        let mut inquiries = Inquiries::default();
        let mut answers = [0, 1].map(|n| ask(&mut inquiries, &world, &ids[n]));
        let begun = Instant::now();
        inquiries.go_on(&world.master, false);
        assert!(answers[0].try_recv().is_ok(), "the first part need not wait");
        assert!(inquiries.rested.is_some_and(|rested| rested > begun));
        inquiries.rested = Some(Instant::now() + Duration::from_secs(3600));
        inquiries.go_on(&world.master, false);
        assert!(answers[1].try_recv().is_err(), "it is the turn of the decisions");
        inquiries.go_on(&world.master, true);
        assert!(answers[1].try_recv().is_ok(), "nobody else wants the time");
    }
}
