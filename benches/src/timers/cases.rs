//! What is done to sleeps, written once for every runtime whose `Sleep` can be made, polled and dropped.

/// Makes a `Crowd` of sleeps, and what is measured of it, out of a runtime's type of a sleep, its `sleep`, its `Instant` and
/// its `spawn`.
macro_rules! crowd {
    (sleep: $sleep:path, Sleep: $Sleep:ty, Instant: $Instant:ty, spawn: $spawn:path $(,)?) => {
        /// Places for sleeps, most of them taken. A place costs no allocation when it is taken.
        pub(super) struct Crowd {
            places: Vec<Pin<Box<Option<$Sleep>>>>,
            random: Random,
        }

        impl Crowd {
            /// No sleep yet, and room for `live` of them and `count` more.
            pub(super) fn new(live: usize, count: usize) -> Self {
                let places = (0..live + count).map(|_| Box::pin(None)).collect();
                Self { places, random: Random::new() }
            }

            /// Lets the sleeps of these places begin.
            fn insert(&mut self, places: Range<usize>, cx: &mut Context<'_>) {
                for place in &mut self.places[places] {
                    place.set(Some($sleep(self.random.far())));
                    let sleep = place.as_mut().as_pin_mut().expect("it was just put there");
                    assert!(sleep.poll(cx).is_pending());
                }
            }

            fn cancel(&mut self, places: Range<usize>) {
                self.places[places].iter_mut().for_each(|place| place.set(None));
            }

            /// One sleep of all goes, and another begins in its place, `count` times.
            fn replace(&mut self, count: usize, live: usize, cx: &mut Context<'_>) {
                for _ in 0..count {
                    let place = self.random.below(live);
                    self.places[place].set(None);
                    self.insert(place..place + 1, cx);
                }
            }

            /// To be called with `count` on a core that has `live` sleeps, or none yet.
            pub(super) async fn visit(mut self, live: usize, count: usize) -> (Self, Costs) {
                let costs = poll_fn(|cx| {
                    if self.places[0].is_none() {
                        self.insert(0..live, cx);
                    }
                    let more = live..live + count;
                    let insert = timed(|| self.insert(more.clone(), cx));
                    let cancel = timed(|| self.cancel(more.clone()));
                    let replace = timed(|| self.replace(count, live, cx));
                    let each = |took: Duration| took.as_nanos() as f64 / count as f64;
                    Poll::Ready(Costs { insert: each(insert), cancel: each(cancel), replace: each(replace) })
                });
                let costs = costs.await;
                (self, costs)
            }
        }

        /// How late `count` tasks wake that sleep for some milliseconds each, in nanoseconds.
        pub(super) async fn late(count: usize) -> Vec<u64> {
            let mut random = Random::new();
            let sleepers = (0..count).map(|_| {
                let span = random.near();
                $spawn(async move {
                    let deadline = <$Instant>::now() + span;
                    $sleep(span).await;
                    // What `sleep` read the clock for is the later one, so this adds some nanoseconds.
                    let late = <$Instant>::now().checked_duration_since(deadline);
                    late.expect("no sleep ends early").as_nanos() as u64
                })
            });
            let sleepers: Vec<_> = sleepers.collect();
            let mut late = Vec::with_capacity(count);
            for sleeper in sleepers {
                late.push(sleeper.await.expect("a sleeper does not panic"));
            }
            late
        }
    };
}
