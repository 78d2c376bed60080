//! Two stages side by side, with one thing between them.

use std::sync::mpsc::sync_channel;

/// Takes a thing, and says whether more are wanted.
pub type Put<'a, T> = dyn FnMut(T) -> bool + 'a;

/// Makes things on another thread while those before them are taken: there is never more than one that is
/// made and one that is taken.
///
/// # Errors
/// That of either side, whichever came first in the order of the things.
pub fn ahead<T: Send, E: Send>(
    make: impl FnOnce(&mut Put<'_, T>) -> Result<(), E> + Send,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        // Without a place to wait in: what is made stays with its maker until it is taken.
        let (sender, receiver) = sync_channel(0);
        scope.spawn(move || {
            let made = make(&mut |thing| sender.send(Ok(thing)).is_ok());
            if let Err(error) = made {
                // Nobody waits for it where taking has failed before.
                let _ = sender.send(Err(error));
            }
        });
        receiver.into_iter().try_for_each(|thing| take(thing?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_order_and_either_side_may_fail() {
        let mut taken = Vec::new();
        let made = |put: &mut Put<'_, u32>| {
            let wanted = (0..5).all(&mut *put);
            if wanted { Err("made") } else { Ok(()) }
        };
        let failed = ahead(made, |thing| {
            taken.push(thing);
            Ok(())
        });
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        assert_eq!(failed, Err("made"));
        let failed = ahead(made, |thing| if thing < 2 { Ok(()) } else { Err("taken") });
        assert_eq!(failed, Err("taken"));
    }
}
