"""The exercises of each lesson, one module a lesson: ``lesson_08.EXERCISES`` holds 08.1, 08.2 and so on."""
