import { relative } from "node:path"

/**
 * A vitest reporter that ends the run with one plain line, `N passed, N failed` (and `, N skipped` when there are any):
 * alone on its line, without colours, the last thing that is printed, in step with the exit code. Before it stands a line
 * for each failure, so that the end of a long log says what failed.
 *
 * What is not a test but fails the run counts as one failure each: a file that cannot be loaded, a hook that fails,
 * an unhandled error, a coverage threshold.
 */
export default class ClosingLine {
  /** @param {import("vitest/node").Vitest} vitest */
  onInit(vitest) {
    this.watching = vitest.config.watch
    /** @type {Array<string>} */
    this.failures = []
    if (!this.watching) process.once("exit", () => this.print())
  }

  /**
   * @param {ReadonlyArray<import("vitest/node").TestModule>} modules
   * @param {ReadonlyArray<import("vitest").SerializedError>} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    const count = { passed: 0, failed: 0, skipped: 0 }
    this.failures = []
    /** @type {(name: string, errors?: ReadonlyArray<{ readonly message: string }>) => unknown} */
    const failed = (name, errors) =>
      this.failures.push(`FAILED ${name}: ${(errors?.[0]?.message ?? "").split("\n", 1)[0]?.slice(0, 200)}`)
    for (const error of unhandledErrors) failed("an unhandled error", [error])
    for (const module of modules) {
      const file = relative(process.cwd(), module.moduleId)
      for (const error of module.errors()) failed(file, [error])
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors()) failed(`${file} > ${suite.fullName}`, [error])
      }
      for (const test of module.children.allTests()) {
        const { errors, state } = test.result()
        if (state === "failed") failed(`${file} > ${test.fullName}`, errors)
        else count[state === "pending" ? "skipped" : state]++
      }
    }
    count.failed = this.failures.length
    this.count = count
    if (this.watching) this.print()
  }

  print() {
    const count = this.count ?? { passed: 0, failed: 0, skipped: 0 }
    const ended = process.exitCode ?? 0
    if (!this.watching && ended !== 0 && count.failed === 0) count.failed = 1
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : ""
    const failures = this.failures.map((line) => `${line}\n`).join("")
    process.stdout.write(`${failures}${count.passed} passed, ${count.failed} failed${skipped}\n`)
  }
}
