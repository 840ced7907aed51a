/** How many inputs a property over hostile input gets: `COLLOQUY_RUNS=10000 npx vitest run test/formats` asks for more than usual. */
export const runs = (usual: number): number => Number(process.env['COLLOQUY_RUNS'] ?? usual)
