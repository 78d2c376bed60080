//! Work on several files at a time.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does something with each item, with so many at a time, and returns what came of them in their order.
///
/// Threads of their own do it, since those that share the computing would only wait here.
pub(crate) fn side_by_side<T: Sync, U: Send>(
    items: &[T],
    at_once: usize,
    run: impl Fn(usize, &T) -> U + Sync,
) -> Vec<U> {
    if at_once < 2 || items.len() < 2 {
        return items.iter().enumerate().map(|(number, item)| run(number, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { break };
                    let result = run(number, item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_are_in_order_and_work_is_shared() {
        let items: Vec<u64> = (0..40).collect();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let run = |number: usize, item: &u64| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(40 - item));
            running.fetch_sub(1, Ordering::SeqCst);
            (number, item * 2)
        };
        for at_once in [0, 1, 4, 100] {
            most.store(0, Ordering::SeqCst);
            let done = side_by_side(&items, at_once, run);
            let expected: Vec<_> = items.iter().map(|item| (*item as usize, item * 2)).collect();
            assert_eq!(done, expected);
            let most = most.load(Ordering::SeqCst);
            assert!(most <= at_once.max(1) && (most > 1 || at_once < 2), "{most} of {at_once}");
        }
        assert!(side_by_side(&[0; 0], 4, run).is_empty());
    }
}
