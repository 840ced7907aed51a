export { type BudgetOptions, budget } from './budget.ts'
