/**
 * How a handler's fiber wakes when its socket has a message.
 *
 * @since 1.0.0
 */
import type * as Scheduler from "effect/Scheduler"

/**
 * A scheduler that runs the fiber which a message wakes at once, inside the socket's event, and leaves everything else
 * to the scheduler that it wraps. A wake-up through the microtask queue costs as much as the rest of a message.
 *
 * @internal
 */
export class WakeScheduler implements Scheduler.Scheduler {
  readonly inner: Scheduler.Scheduler
  private waking = false

  constructor(inner: Scheduler.Scheduler) {
    this.inner = inner
  }

  /** Wakes the reader; its fiber runs before this returns, up to where it waits again. */
  run(reader: { readonly wake: () => void }): void {
    this.waking = true
    reader.wake()
    this.waking = false
  }

  // The fiber is not passed on: the default scheduler would keep a queue of its own for every fiber, half a kilobyte.
  scheduleTask(task: Scheduler.Task, priority: number): void {
    if (!this.waking) return this.inner.scheduleTask(task, priority)
    this.waking = false
    task()
  }

  shouldYield(fiber: Parameters<Scheduler.Scheduler["shouldYield"]>[0]): number | false {
    return this.inner.shouldYield(fiber)
  }
}
