/**
 * A vitest reporter that ends the run with one plain line, `N passed, N failed` (and `, N skipped` when there are any):
 * alone on its line, without colours, the last thing that is printed, in step with the exit code.
 *
 * What is not a test but fails the run counts as one failure each: a file that cannot be loaded, a hook that fails,
 * an unhandled error, a coverage threshold.
 */
export default class ClosingLine {
  /** @param {import("vitest/node").Vitest} vitest */
  onInit(vitest) {
    this.watching = vitest.config.watch
    this.line = undefined
    if (!this.watching) process.once("exit", () => this.print())
  }

  /**
   * @param {ReadonlyArray<import("vitest/node").TestModule>} modules
   * @param {ReadonlyArray<import("vitest").SerializedError>} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
    for (const module of modules) {
      count.failed += module.errors().length
      for (const suite of module.children.allSuites()) count.failed += suite.errors().length
      for (const test of module.children.allTests()) {
        const state = test.result().state
        count[state === "pending" ? "skipped" : state]++
      }
    }
    this.count = count
    if (this.watching) this.print()
  }

  print() {
    const count = this.count ?? { passed: 0, failed: 0, skipped: 0 }
    const ended = process.exitCode ?? 0
    if (!this.watching && ended !== 0 && count.failed === 0) count.failed = 1
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : ""
    process.stdout.write(`${count.passed} passed, ${count.failed} failed${skipped}\n`)
  }
}
