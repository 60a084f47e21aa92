//! Lets threads that serve go before those that read everything.

/// Items between two looks at who waits: well below a millisecond of work for agents with their tasks.
const ITEMS: usize = 8;

/// The same items, with a pause now and then in which other threads take the processor if they wait.
///
/// Who answers with all of a cluster keeps a processor busy for a second. The system lets such a thread
/// have its whole time slice, milliseconds, before it looks after threads that were woken meanwhile.
pub(crate) fn giving_way<T>(items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    items.into_iter().enumerate().map(|(number, item)| {
        if number % ITEMS == 0 {
            std::thread::yield_now();
        }
        item
    })
}
