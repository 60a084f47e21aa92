//! Makes a failing case smaller, as long as it fails.

use crate::{case::Case, services::case::ServicesCase};

/// The smallest case found within so many runs for which `fails` still holds. `case` itself must fail.
pub fn minimise(case: Case, runs: usize, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case;
    let mut left = runs;
    let mut try_out = |best: &mut Case, smaller: Case| -> bool {
        if left == 0 || smaller == *best {
            return false;
        }
        left -= 1;
        let is_better = fails(&smaller);
        if is_better {
            *best = smaller;
        }
        is_better
    };
    loop {
        let before = best.clone();
        // Faults first, in ever smaller pieces: they are what a person has to understand.
        let mut piece = best.faults.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < best.faults.len() {
                let mut smaller = best.clone();
                smaller.faults.drain(at..(at + piece).min(best.faults.len()));
                if !try_out(&mut best, smaller) {
                    at += piece;
                }
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
        for tasks in [best.frameworks, best.tasks / 4, best.tasks / 2, best.tasks * 3 / 4] {
            let smaller = Case { tasks: tasks.max(1), ..best.clone() };
            try_out(&mut best, smaller);
        }
        if best.frameworks > 1 {
            let smaller = Case { frameworks: best.frameworks - 1, ..best.clone() };
            try_out(&mut best, smaller);
        }
        for agents in 1..best.agents {
            let smaller = Case { agents, ..best.clone() };
            if try_out(&mut best, smaller) {
                break;
            }
        }
        let smaller = Case { seconds: (best.seconds / 2).max(1), ..best.clone() };
        try_out(&mut best, smaller);
        if best == before {
            return best;
        }
    }
}

/// The same for a case with a services node: fewer faults, fewer orders.
pub fn minimise_services(
    case: ServicesCase,
    runs: usize,
    mut fails: impl FnMut(&ServicesCase) -> bool,
) -> ServicesCase {
    let (mut best, mut left) = (case, runs);
    loop {
        let before = best.clone();
        for at in (0..best.faults.len() + best.orders.len()).rev() {
            let mut smaller = best.clone();
            if at < smaller.faults.len() {
                smaller.faults.remove(at);
            } else {
                smaller.orders.remove(at - best.faults.len());
            }
            if left > 0 && fails(&smaller) {
                best = smaller;
            }
            left = left.saturating_sub(1);
        }
        if best == before || left == 0 {
            return best;
        }
    }
}
