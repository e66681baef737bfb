import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

/** Tests import `effect-ws-hub` by its name: this condition of `exports` leads to `src`, so that no build is needed. */
const conditions = ["@effect-ws-hub/source", "module", "node", "development|production"]

/** `vitest --mode long` (npm run test:long): the property suites read TEST_LONG and run ten times as long. */
export default defineConfig(({ mode }) => {
  const long = mode === "long"
  return {
    ssr: { resolve: { conditions } },
    test: {
      include: ["test/**/*.test.ts"],
      globalSetup: "test/redis/support/Installed.ts",
      pool: "forks",
      // Most tests wait for other processes: two at a time even on two cores.
      poolOptions: { forks: { minForks: 1, maxForks: Math.max(2, availableParallelism() - 1) } },
      sequence: { concurrent: false },
      testTimeout: long ? 1_800_000 : 60_000,
      hookTimeout: 60_000,
      env: long ? { TEST_LONG: "1" } : {},
      reporters: ["default", "./scripts/closing-line.mjs"],
      coverage: {
        provider: "v8",
        include: ["src/**/*.ts"],
        exclude: ["src/**/index.ts"],
        reporter: ["text", "html"],
        reportsDirectory: "coverage"
      }
    }
  }
})
