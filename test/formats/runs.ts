/**
 * How many inputs a property gets: `COLLOQUY_RUNS=10000 npx vitest run test/formats` asks for more than usual, up
 * to `most` where one input alone takes long. fast-check prints the seed of a failure.
 */
export const runs = (usual: number, most = Number.POSITIVE_INFINITY): number =>
  Math.min(most, Number(process.env['COLLOQUY_RUNS'] ?? usual))
